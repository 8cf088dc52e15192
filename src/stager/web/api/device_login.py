"""The device flow (RFC 8628): signing in a command line without a browser."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from stager.ports.login import Pending
from stager.web.context import Control, address_of
from stager.web.problems import Problem

router = APIRouter(prefix="/api/v1/login", tags=["signing in"])

_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Bad request.", "model": Problem},
    403: {"description": "Denied by the user.", "model": Problem},
    404: {"description": "Not configured.", "model": Problem},
    410: {"description": "Unknown or expired sign-in.", "model": Problem},
    413: {"description": "Body too large.", "model": Problem},
    422: {"description": "Invalid request.", "model": Problem},
    429: {"description": "Too many sign-ins in progress from this address.", "model": Problem},
    503: {"description": "The provider is unavailable.", "model": Problem},
}


class DeviceView(BaseModel):
    """A pending sign-in."""

    handle: str = Field(description="Identifies the sign-in when polling. A secret.")
    user_code: str = Field(description="The code that the user enters.")
    verification_uri: str = Field(description="The URL at which the user enters the code.")
    interval: float = Field(description="Minimum seconds between two polls.")
    expires_in: float = Field(description="Seconds until it expires.")


class HandleBody(BaseModel):
    """The sign-in to poll."""

    handle: str = Field(max_length=100)


class SignedInView(BaseModel):
    """A completed sign-in."""

    token: str = Field(description="The token for `Authorization: Bearer`. Returned once.")
    login: str = Field(description="The user's name at the provider.")


class PendingView(BaseModel):
    """The user hasn't answered yet."""

    interval: float = Field(description="Seconds until the next poll.")


@router.post("/device", responses=_ANSWERS, openapi_extra={"security": []})
async def begin(request: Request, control: Control) -> DeviceView:
    """Start a device flow."""
    handle, code = await control.identity.sign_in.start_device(address_of(request))
    return DeviceView(
        handle=handle,
        user_code=code.user_code,
        verification_uri=code.verification_uri,
        interval=code.interval,
        expires_in=code.expires_in,
    )


@router.post(
    "/device/poll",
    responses={**_ANSWERS, 202: {"description": "Pending.", "model": PendingView}},
    openapi_extra={"security": []},
)
async def poll(
    request: Request, response: Response, control: Control, body: HandleBody
) -> SignedInView | PendingView:
    """Poll a device flow."""
    address, agent = address_of(request), request.headers.get("user-agent", "")
    response.headers["Cache-Control"] = "no-store"
    answer = await control.identity.sign_in.poll_device(body.handle, address, agent)
    if isinstance(answer, Pending):
        response.status_code = 202
        return PendingView(interval=answer.interval)
    return SignedInView(token=answer.token, login=answer.login)
