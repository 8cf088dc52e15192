"""What the routes of the API have in common."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from stager.web.problems import Problem

PREFIX = "/api/v1"
ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Bad request.", "model": Problem},
    401: {"description": "Unauthenticated.", "model": Problem},
    403: {"description": "Permission denied.", "model": Problem},
    404: {"description": "Not found.", "model": Problem},
    409: {"description": "Conflict.", "model": Problem},
    422: {"description": "Invalid request.", "model": Problem},
    429: {"description": "Too many failed logins from this address.", "model": Problem},
    503: {"description": "Service unavailable.", "model": Problem},
}

Id = Annotated[str, Path(description="The environment's id.", max_length=64)]


def api_router(tag: str) -> APIRouter:
    """Return a router for routes of the API.

    Args:
        tag: groups them in the description of the API.
    """
    return APIRouter(prefix=PREFIX, tags=[tag], responses=ANSWERS)
