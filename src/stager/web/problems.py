"""The one place where endings become HTTP: a plain sentence for curl, a problem (RFC 9457) for the API."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from stager.domain.errors import Fault, Refused, Retry, StagerError, sentences

RETRY_AFTER = "5"
AFTER_TOO_MANY = "60"
"""Seconds in which wrong credentials are counted; see `stager.control.identity.throttle`."""
API = "/api/"
UNKEPT = {"Cache-Control": "no-store"}


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    title: str
    """What happened, one sentence."""
    status: int
    """The HTTP status."""
    detail: str = ""
    """What to do about it."""
    reason: str = ""
    """A slug that stays the same from version to version."""
    lines: list[str] = []
    """The last lines of the log, where they tell why."""


class BodyError(HTTPException):
    """A body that isn't read to its end. An HTTPException, because FastAPI makes a 400 of any other error
    that it meets while it reads JSON.

    Args:
        reason: a slug, as with `StagerError`.
    """

    def __init__(self, status: int, message: str, hint: str = "", *, reason: str) -> None:
        headers = {"Retry-After": RETRY_AFTER} if status == 503 else {}
        super().__init__(status, message, headers)
        self.hint = hint
        self.reason = reason


def install(app: FastAPI) -> None:
    """Have `app` answer every ending in these words."""
    app.add_exception_handler(StagerError, _ending)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def status_of(error: StagerError) -> int:
    """The HTTP status that says what kind of ending it is."""
    return error.status if isinstance(error, Refused) else 503


async def _ending(request: Request, error: Exception) -> Response:
    if not isinstance(error, StagerError):
        raise error
    if status_of(error) == 401 and _is_a_visitor(request):
        back = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        return RedirectResponse(f"/login?{urlencode({'to': back})}", 303, headers=UNKEPT)
    return answer_to(request.url.path, error)


def answer_to(path: str, error: StagerError) -> Response:
    """What whoever asked for this path is answered."""
    status = status_of(error)
    problem = Problem(
        title=error.message,
        status=status,
        detail=error.hint,
        reason=error.reason,
        lines=error.detail.splitlines(),
    )
    response = worded(path, problem)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="Stager", charset="UTF-8"'
    if isinstance(error, Retry):
        response.headers["Retry-After"] = RETRY_AFTER
    elif status == 429:
        response.headers["Retry-After"] = AFTER_TOO_MANY
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = "; ".join(f"{'.'.join(str(p) for p in e['loc'][1:])}: {e['msg']}" for e in error.errors())
    return worded(
        request.url.path,
        Problem(title="The request isn't valid.", status=422, detail=found, reason="invalid"),
    )


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    problem = Problem(title=str(error.detail), status=error.status_code, reason="http")
    if isinstance(error, BodyError):
        problem = problem.model_copy(update={"detail": error.hint, "reason": error.reason})
    response = worded(request.url.path, problem)
    response.headers.update(error.headers or {})
    return response


def _is_a_visitor(request: Request) -> bool:
    """Whether it is a person with a browser, who can sign in, and brought no credentials that were wrong."""
    wants_page = "text/html" in request.headers.get("accept", "")
    is_page = request.method == "GET" and not request.url.path.startswith(API)
    return wants_page and is_page and "authorization" not in request.headers


def worded(path: str, problem: Problem) -> Response:
    """The problem as a response: JSON under the API, plain text elsewhere."""
    if path.startswith(API):
        content = problem.model_dump(exclude_defaults=True)
        return JSONResponse(content, problem.status, media_type="application/problem+json")
    return PlainTextResponse(_plain(problem), problem.status)


def _plain(problem: Problem) -> str:
    first = sentences(problem.title, problem.detail)
    return "\n".join([first, "", *problem.lines]) if problem.lines else first


def fault(message: str, hint: str, reason: str, lines: tuple[str, ...]) -> Fault:
    """The fault that a failed launch is answered with."""
    return Fault(message, hint=hint, reason=reason, detail="\n".join(lines))
