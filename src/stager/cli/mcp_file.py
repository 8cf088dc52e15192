"""`stager init --mcp`: writes `.mcp.json`, by which coding agents find the server's tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

import typer

from stager.cli.client.api.errors import ClientError
from stager.cli.client.auth.token import VARIABLE
from stager.cli.client.settings import is_local, load

FILE: Final = ".mcp.json"
SERVERS, NAME = "mcpServers", "stager"


def write_mcp_file(root: Path, endpoint: str, *, force: bool) -> None:
    """Add the server to the folder's file; what else the file has stays.

    Args:
        endpoint: name or URL; empty for the default one.
        force: replace a different entry.
    """
    path = root / FILE
    url = _url(endpoint)
    document = _document(path)
    servers = document.setdefault(SERVERS, {})
    if not isinstance(servers, dict):
        _fail(f"{path} has no mapping under `{SERVERS}`.")
    entry = _entry(url)
    if servers.get(NAME, entry) != entry and not force:
        _fail(f"{path} has another server `{NAME}` already. --force replaces it.")
    servers[NAME] = entry
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    except OSError as error:
        _fail(f"{path} can't be written: {error.strerror}.")
    _explain(path, url)


def _entry(url: str) -> dict[str, object]:
    return {
        "type": "http",
        "url": f"{url}/mcp",
        "headers": {"Authorization": f"Bearer ${{{VARIABLE}}}"},
    }


def _url(endpoint: str) -> str:
    try:
        return load().endpoint(endpoint).url
    except ClientError as error:
        _fail(f"{error.message} {error.hint}".strip())


def _document(path: Path) -> dict[str, object]:
    """The file's content; empty if there is no file."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _fail(f"{path} can't be read: {error}")
    if not isinstance(found, dict):
        _fail(f"{path} isn't a JSON object.")
    return found


def _explain(path: Path, url: str) -> None:
    typer.echo(f"Wrote {path}. It has no secret.")
    typer.echo(
        f"Next: create a token on {url}/account or by `stager token create agent`, set it as {VARIABLE} where"
        " your agent runs, and commit the file if others use the server, too."
    )
    if url.startswith("http:") and not is_local(urlsplit(url).hostname or ""):
        typer.echo("Warning: the server has no HTTPS, so the token can be read on the way.", err=True)


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
