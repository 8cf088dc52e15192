"""Reads forms and parameters of requests. `body_limits` limits them."""

from __future__ import annotations

from typing import TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from stager.domain.errors import Refused

M = TypeVar("M", bound=BaseModel)

FORM_LIMIT = 1024 * 1024
WEBHOOK_LIMIT = 25 * 1024 * 1024
"""The maximum size of GitHub's deliveries (docs: Webhook events and payloads, payload cap)."""
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


async def parameters_of(request: Request) -> dict[str, str]:
    """Return the parameters of the query and the form; the form's take precedence. Raises `Refused` for an
    invalid form."""
    parameters = dict(request.query_params)
    if not request.headers.get("content-type", "").startswith(FORMS):
        return parameters
    await request.body()  # cached, so that the raw bytes can be read after the form
    try:
        form = await request.form(max_files=0, max_fields=200, max_part_size=FORM_LIMIT)
    except HTTPException as error:
        raise Refused(f"Invalid form: {error.detail}", reason="form-invalid") from error
    return parameters | {name: value for name, value in form.items() if not isinstance(value, UploadFile)}


async def form_of(request: Request, model: type[M]) -> M:
    """Read and validate a form of Stager's own pages. FastAPI's form parameters would consume the body before
    authentication, which reads it as well. Raises `RequestValidationError`."""
    try:
        return model.model_validate(await parameters_of(request))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
