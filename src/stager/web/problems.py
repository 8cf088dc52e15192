"""Turns errors into HTTP responses: plain text for curl, a problem document (RFC 9457) for the API."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from stager.domain.errors import Fault, Refused, Retry, StagerError, sentences
from stager.web.pages.rendering import render

RETRY_AFTER = "5"
RETRY_AFTER_THROTTLED = "60"
"""Seconds in which failed logins are counted; see `stager.control.identity.throttle`."""
API = ("/api/", "/mcp")
"""Paths for programs."""
NO_STORE = {"Cache-Control": "no-store"}


class Problem(BaseModel):
    """An error (RFC 9457)."""

    title: str
    """What happened, one sentence."""
    status: int
    """The HTTP status."""
    detail: str = ""
    """What to do about it; may be empty."""
    reason: str = ""
    """A slug that is stable across versions."""
    lines: list[str] = []
    """The last lines of a log that explain the error."""


class BodyError(HTTPException):
    """A request body that isn't read completely. FastAPI turns any error other than an HTTPException that
    occurs while it reads JSON into a 400.

    Args:
        reason: a slug, as with `StagerError`.
    """

    def __init__(self, status: int, message: str, hint: str = "", *, reason: str) -> None:
        headers = {"Retry-After": RETRY_AFTER} if status == 503 else {}
        super().__init__(status, message, headers)
        self.hint = hint
        self.reason = reason


def install(app: FastAPI) -> None:
    """Install the exception handlers."""
    app.add_exception_handler(StagerError, _stager_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def status_of(error: StagerError) -> int:
    """Return the HTTP status of an error."""
    return error.status if isinstance(error, Refused) else 503


async def _stager_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, StagerError):
        raise error
    if status_of(error) == 401 and _is_browser(request):
        target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        return RedirectResponse(f"/login?{urlencode({'to': target})}", 303, headers=NO_STORE)
    response = _response(request, problem_of(error))
    response.headers.update(_headers(error))
    return response


def problem_of(error: StagerError) -> Problem:
    """Return the problem for an error."""
    return Problem(
        title=error.message,
        status=status_of(error),
        detail=error.hint,
        reason=error.reason,
        lines=error.detail.splitlines(),
    )


def _headers(error: StagerError) -> dict[str, str]:
    """Return the headers that say when to try again, if that may help, or how to authenticate."""
    if isinstance(error, Retry):
        return {"Retry-After": RETRY_AFTER}
    by_status = {
        401: {"WWW-Authenticate": 'Basic realm="Stager", charset="UTF-8"'},
        429: {"Retry-After": RETRY_AFTER_THROTTLED},
    }
    return by_status.get(status_of(error), {})


def response_to(path: str, error: StagerError) -> Response:
    """Return the response for an error."""
    response = problem_response(path, problem_of(error))
    response.headers.update(_headers(error))
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = "; ".join(f"{'.'.join(str(p) for p in e['loc'][1:])}: {e['msg']}" for e in error.errors())
    problem = Problem(title="Invalid request.", status=422, detail=found, reason="invalid")
    return _response(request, problem)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    problem = Problem(title=str(error.detail), status=error.status_code, reason="http")
    if isinstance(error, BodyError):
        problem = problem.model_copy(update={"detail": error.hint, "reason": error.reason})
    response = _response(request, problem)
    response.headers.update(error.headers or {})
    return response


def _is_browser(request: Request) -> bool:
    """Whether it is a browser that requests a page without credentials, so that its user can sign in."""
    return _wants_page(request) and request.method == "GET" and "authorization" not in request.headers


def _wants_page(request: Request) -> bool:
    """Whether the response is for a person with a browser."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(API)


def _response(request: Request, problem: Problem) -> Response:
    """Return a problem as a page for people with a browser, otherwise as for programs."""
    if _wants_page(request):
        return render("problem.html", status=problem.status, problem=problem)
    return problem_response(request.url.path, problem)


def problem_response(path: str, problem: Problem) -> Response:
    """Return a problem as a response: JSON for the API, plain text for other routes."""
    if path.startswith(API):
        content = problem.model_dump(exclude_defaults=True)
        return JSONResponse(content, problem.status, media_type="application/problem+json")
    return PlainTextResponse(_plain(problem), problem.status)


def _plain(problem: Problem) -> str:
    first = sentences(problem.title, problem.detail)
    return "\n".join([first, "", *problem.lines]) if problem.lines else first


def fault(message: str, hint: str, reason: str, lines: tuple[str, ...]) -> Fault:
    """Return the error for a failed launch."""
    return Fault(message, hint=hint, reason=reason, detail="\n".join(lines))
