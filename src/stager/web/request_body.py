"""Reads what came with a request. `bodies` bounds it."""

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
"""GitHub sends no delivery that is larger (docs: Webhook events and payloads, payload cap)."""
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


async def parameters_of(request: Request) -> dict[str, str]:
    """The query's parameters and the form's, which win. Raises `Refused` when the form can't be read."""
    parameters = dict(request.query_params)
    if not request.headers.get("content-type", "").startswith(FORMS):
        return parameters
    await request.body()  # kept, so that a delivery's raw bytes can still be read after its form
    try:
        form = await request.form(max_files=0, max_fields=200, max_part_size=FORM_LIMIT)
    except HTTPException as error:
        raise Refused(f"The form can't be read: {error.detail}", reason="form-invalid") from error
    return parameters | {name: value for name, value in form.items() if not isinstance(value, UploadFile)}


async def form_of(request: Request, model: type[M]) -> M:
    """A form of our own pages. By hand, because FastAPI would have read the body before it is known who sends
    it, and nobody else could then. Raises `RequestValidationError`."""
    try:
        return model.model_validate(await parameters_of(request))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
