"""The OpenAPI description of the API. Adds what FastAPI can't describe: the media type of problem documents,
and credentials for several strategies."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

PROBLEM = "application/problem+json"


def described(app: FastAPI) -> dict[str, Any]:
    """Return the description of the application; created once and cached."""
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schema["components"]["securitySchemes"] = {
        "basic": {"type": "http", "scheme": "basic"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    schema["security"] = [{"basic": []}, {"bearer": []}]
    for path in schema["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    # FastAPI puts the model under the route's own media type.
                    response["content"] = {PROBLEM: next(iter(response["content"].values()))}
    app.openapi_schema = schema
    return schema
