"""Finds the preview that a tool's argument names."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from stager.control.environments.lookup import unknown
from stager.control.environments.queries import Row
from stager.domain.environment import Environment
from stager.domain.errors import Refused
from stager.domain.status import State, status_of
from stager.web.api.environments import MAX_SERVICE
from stager.web.mcp.caller import Caller

Preview = Annotated[str, Field(max_length=300, description="Id, branch name, URL, or OWNER/REPO#NUMBER.")]
Service = Annotated[str, Field(max_length=MAX_SERVICE, description="By default the main one.")]


async def find_preview(caller: Caller, word: str) -> Environment:
    """Return the preview of this id, name, URL, host, or pull request (`OWNER/REPO#NUMBER`).

    Raises:
        Refused: there is none that the caller may see, or there are several.
    """
    queries = caller.control.environments.queries
    try:
        return await queries.visible(word, caller.actor)
    except Refused:
        rows = [row for row in await queries.listing(caller.actor) if _matches(row.environment, word)]
    found = [row for row in rows if not _is_refused(row)] or rows
    if not found:
        raise unknown(word)
    if len(found) > 1:
        raise _ambiguous(word, found)
    return found[0].environment


def _is_refused(row: Row) -> bool:
    """Whether it is refused, such as a fork's branch with the name of the repository's own one."""
    return status_of(row.environment, row.deployment).state is State.REFUSED


def _matches(environment: Environment, word: str) -> bool:
    host = urlsplit(word if "://" in word else f"//{word}").hostname
    return word in (environment.name, pull_request_of(environment)) or host == environment.host


def pull_request_of(environment: Environment) -> str:
    """Such as `acme/shop#7`; empty without a pull request."""
    change = environment.change
    return f"{change.owner}/{change.repository}#{change.number}" if change else ""


def _ambiguous(word: str, found: list[Row]) -> Refused:
    named = (row.environment for row in found)
    listed = ", ".join(f"{each.id} ({each.app} {pull_request_of(each)})".replace(" )", ")") for each in named)
    return Refused(
        f'"{word}" matches several previews: {listed}.',
        hint="Pass the id instead.",
        reason="name-ambiguous",
        status=409,
    )
