"""Signing in without a browser: the device flow (RFC 8628), for the command line."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from stager.ports.login import Pending
from stager.web.context import Control, address_of
from stager.web.problems import Problem

router = APIRouter(prefix="/api/v1/login", tags=["signing in"])

_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request can't be read.", "model": Problem},
    403: {"description": "Somebody said no.", "model": Problem},
    404: {"description": "Nobody can sign in like this here.", "model": Problem},
    410: {"description": "There is no such sign-in, or not any more.", "model": Problem},
    413: {"description": "The body is too long.", "model": Problem},
    422: {"description": "The request isn't valid.", "model": Problem},
    429: {"description": "Too many sign-ins are under way from this address.", "model": Problem},
    503: {"description": "The provider doesn't answer.", "model": Problem},
}


class DeviceView(BaseModel):
    """A sign-in that waits for somebody."""

    handle: str = Field(description="Asks how it went. A secret.")
    user_code: str = Field(description="What somebody types in.")
    verification_uri: str = Field(description="Where they do.")
    interval: float = Field(description="Seconds to wait between two questions.")
    expires_in: float = Field(description="Seconds that it is good for.")


class HandleBody(BaseModel):
    """Which sign-in."""

    handle: str = Field(max_length=100)


class SignedInView(BaseModel):
    """What whoever signed in gets."""

    token: str = Field(description="For `Authorization: Bearer`. It is told once.")
    login: str = Field(description="Who that is.")


class PendingView(BaseModel):
    """Nobody has agreed yet."""

    interval: float = Field(description="Seconds to wait before the next question.")


@router.post("/device", responses=_ANSWERS, openapi_extra={"security": []})
async def begin(request: Request, control: Control) -> DeviceView:
    """Begin to sign in where there is no browser."""
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
    responses={**_ANSWERS, 202: {"description": "Nobody has agreed yet.", "model": PendingView}},
    openapi_extra={"security": []},
)
async def poll(
    request: Request, response: Response, control: Control, body: HandleBody
) -> SignedInView | PendingView:
    """How it went."""
    address, agent = address_of(request), request.headers.get("user-agent", "")
    response.headers["Cache-Control"] = "no-store"
    answer = await control.identity.sign_in.poll_device(body.handle, address, agent)
    if isinstance(answer, Pending):
        response.status_code = 202
        return PendingView(interval=answer.interval)
    return SignedInView(token=answer.token, login=answer.login)
