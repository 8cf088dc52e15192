"""The calls of the API that the commands need, with what they answer as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stager.cli.client.api.errors import ClientError, Code
from stager.version import __version__

if TYPE_CHECKING:
    from stager.cli.client.api.connection import Connection

ENVIRONMENTS = "/api/v1/environments"
ON_THE_WAY = frozenset({"starting", "building", "updating"})
"""The states in which something more will happen by itself."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """An environment as the API tells it.

    Args:
        told: all of it, as `--json` shows it.
        serving: the generation that visitors see; 0 when they see a page.
    """

    id: str
    app: str
    name: str
    url: str
    state: str
    message: str
    hint: str
    reason: str
    generation: int
    serving: int
    sha: str
    told: Mapping[str, Any]

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state not in ON_THE_WAY

    @property
    def pull_request(self) -> str:
        """`#7` of its pull request; empty for what was launched by hand."""
        change = self.told.get("change")
        return f"#{change['number']}" if change else ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One attempt, as the API tells it."""

    generation: int
    phase: str
    sha: str
    message: str
    told: Mapping[str, Any]


class Api:
    """The API of one server. Each method raises `ClientError`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def launch(self, app: str, name: str, parameters: Mapping[str, str]) -> Preview:
        """Have a preview running, afresh when it runs already."""
        body = {"image_name": app, "container_name": name, "parameters": parameters}
        return _preview(self.connection.post(ENVIRONMENTS, body))

    def previews(self, app: str = "", *, gone: bool = False) -> list[Preview]:
        """All of them, oldest first."""
        query = {"app": app, "gone": str(gone).lower()}
        return [_preview(found) for found in _list(self.connection.get(ENVIRONMENTS, **query))]

    def preview(self, id_: str) -> Preview:
        """The one of this id."""
        return _preview(self.connection.get(f"{ENVIRONMENTS}/{id_}"))

    def kill(self, id_: str) -> Preview:
        """Have it removed. Answers at once."""
        return _preview(self.connection.delete(f"{ENVIRONMENTS}/{id_}"))

    def redeploy(self, id_: str) -> Preview:
        """Have it started afresh. Answers at once."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/redeploy"))

    def approve(self, id_: str, sha: str) -> Preview:
        """Let this commit of a fork run, by its whole id. Answers at once."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/approve", {"sha": sha}))

    def deployments(self, id_: str) -> list[Deployment]:
        """Its deployments, newest first."""
        found = _list(self.connection.get(f"{ENVIRONMENTS}/{id_}/deployments"))
        return [_deployment(told) for told in found]

    def log(self, id_: str, lines: int) -> list[str]:
        """The last lines of its output."""
        return self.connection.text(f"{ENVIRONMENTS}/{id_}/log", lines=lines).splitlines()

    def follow_log(self, id_: str, lines: int) -> AbstractContextManager[Iterator[str]]:
        """The last lines of its output, and then what it prints, from instance to instance."""
        return self.connection.lines(f"{ENVIRONMENTS}/{id_}/log", lines=lines, follow="true")

    def build_log(self, id_: str) -> list[str]:
        """What its newest build said."""
        return self.connection.text(f"{ENVIRONMENTS}/{id_}/build-log").splitlines()

    def follow_build(self, id_: str) -> AbstractContextManager[Iterator[str]]:
        """What its newest build says, until that is over."""
        return self.connection.lines(f"{ENVIRONMENTS}/{id_}/build-log", follow="true")


def _preview(told: Any) -> Preview:
    try:
        texts = {
            key: str(told[key])
            for key in ("id", "app", "name", "url", "state", "message", "hint", "reason", "sha")
        }
        return Preview(
            **texts, generation=int(told["generation"]), serving=int(told["serving"] or 0), told=told
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _strange() from error


def _deployment(told: Any) -> Deployment:
    try:
        texts = {key: str(told[key]) for key in ("phase", "sha", "message")}
        return Deployment(int(told["generation"]), **texts, told=told)
    except (KeyError, TypeError, ValueError) as error:
        raise _strange() from error


def _list(told: object) -> list[object]:
    if not isinstance(told, list):
        raise _strange()
    return told


def _strange() -> ClientError:
    return ClientError(
        f"The server's answer isn't what this client, version {__version__}, understands.",
        hint="Have the same version on both ends.",
        code=Code.UNREACHABLE,
    )
