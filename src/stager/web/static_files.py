"""Serves the stylesheet, scripts and icons: compressed once, and cached by browsers for as long as they are
the same.

A page names them with the digest of all files, as in `/static/3f2a9c01b7d4/stager.css`, so an upgrade never
mixes old scripts with new pages, and relative imports between scripts stay in one version.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

TYPES = MappingProxyType(
    {
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }
)
"""The kinds of files that are served, by the name's end."""
FOREVER = "public, max-age=31536000, immutable"
CHECKED = "public, no-cache"
DIGITS = 12
"""Hexadecimal digits of the digest in a path."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file in memory.

    Args:
        content: as it is.
        packed: compressed by gzip.
    """

    content: bytes
    packed: bytes
    media_type: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Return all files by their name. They have about 100 kB together, and are read when the first page is
    shown."""
    found = {}
    for each in sorted(files("stager.web").joinpath("static").iterdir(), key=lambda path: path.name):
        kind = TYPES.get(each.name.rpartition(".")[2])
        if kind is not None:
            content = each.read_bytes()
            found[each.name] = StaticFile(content, gzip.compress(content, 9, mtime=0), kind)
    return found


@cache
def version() -> str:
    """Return the digest of all files."""
    digest = sha256()
    for name, file in static_files().items():
        digest.update(name.encode() + b"\0" + file.content + b"\0")
    return digest.hexdigest()[:DIGITS]


def static_url(name: str) -> str:
    """Return the path of a file in its current version. Raises `KeyError` when there is none."""
    static_files()[name]
    return f"/static/{version()}/{name}"


async def _serve(request: Request) -> Response:
    given, _, name = request.path_params["path"].rpartition("/")
    file = static_files().get(name)
    if file is None or "/" in given:
        raise HTTPException(404)
    tag = f'"{version()}"'
    headers = {
        "Cache-Control": FOREVER if given == version() else CHECKED,
        "ETag": tag,
        "Vary": "Accept-Encoding",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.content, headers=headers, media_type=file.media_type)
    return Response(file.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)


router = Router([Route("/{path:path}", _serve, methods=["GET", "HEAD"])])
"""To be mounted at `/static`."""
