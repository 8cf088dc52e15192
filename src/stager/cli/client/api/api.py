"""The API calls of the commands, with typed results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from stager.cli.client.api.errors import ClientError, Code
from stager.version import __version__

if TYPE_CHECKING:
    from stager.cli.client.api.connection import Connection

ENVIRONMENTS = "/api/v1/environments"
SNAPSHOTS = "/api/v1/snapshots"
SNAPSHOT_KEYS = ("id", "app", "number", "name", "state", "is_current", "volumes")
IN_PROGRESS = frozenset({"queued", "starting", "building", "updating", "waking"})
"""The states that change without a further request."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """An environment of the API.

    Args:
        data: the whole JSON object, as `--json` shows it.
        serving: the generation that visitors see; 0 when they see a status page.
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
    data: Mapping[str, Any]

    @property
    def is_settled(self) -> bool:
        """Whether no deployment is in progress."""
        return self.state not in IN_PROGRESS

    @property
    def failure(self) -> Mapping[str, Any]:
        """Its failure, see `FailureView` of the API; empty if there is none, and from an older server."""
        return self.data.get("failure") or {}

    @property
    def services(self) -> list[Mapping[str, Any]]:
        """Its services, as in the API; empty until they are known."""
        found = self.data.get("services")
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    @property
    def slug(self) -> str:
        """The first label of its host."""
        return (urlsplit(self.url).hostname or "").partition(".")[0]

    @property
    def pull_request(self) -> str:
        """The pull request, as `#7`; empty for a preview that was launched by name."""
        change = self.data.get("change")
        return f"#{change['number']}" if change else ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment of the API."""

    generation: int
    phase: str
    sha: str
    message: str
    data: Mapping[str, Any]


class Api:
    """The API of one server. Each method raises `ClientError`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def launch(self, app: str, name: str, parameters: Mapping[str, str]) -> Preview:
        """Launch a preview, or redeploy it when it is running."""
        body = {"image_name": app, "container_name": name, "parameters": parameters}
        return _preview(self.connection.post(ENVIRONMENTS, body))

    def previews(self, app: str = "", *, gone: bool = False) -> list[Preview]:
        """Return all previews, oldest first."""
        query = {"app": app, "gone": str(gone).lower()}
        return [_preview(found) for found in _list(self.connection.get(ENVIRONMENTS, **query))]

    def preview(self, id_: str) -> Preview:
        """Return a preview by its id."""
        return _preview(self.connection.get(f"{ENVIRONMENTS}/{id_}"))

    def kill(self, id_: str) -> Preview:
        """Request its removal. Doesn't wait."""
        return _preview(self.connection.delete(f"{ENVIRONMENTS}/{id_}"))

    def redeploy(self, id_: str) -> Preview:
        """Request a new deployment. Doesn't wait."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/redeploy"))

    def roll_back(self, id_: str, to: str) -> Preview:
        """Launch an earlier revision again. Doesn't wait."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/rollback", {"to": to}))

    def pin(self, id_: str) -> Preview:
        """Exempt it from expiry and eviction."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/pin"))

    def extend(self, id_: str) -> Preview:
        """Count it as used now."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/extend"))

    def sleep(self, id_: str) -> Preview:
        """Put it to sleep. Doesn't wait."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/sleep"))

    def wake(self, id_: str) -> Preview:
        """Wake it. Doesn't wait."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/wake"))

    def approve(self, id_: str, sha: str) -> Preview:
        """Approve a commit of a fork by its full id. Doesn't wait."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/approve", {"sha": sha}))

    def share(self, id_: str, body: Mapping[str, Any]) -> Json:
        """Create a share link; returns it with its URL."""
        found = self.connection.post(f"{ENVIRONMENTS}/{id_}/share-links", body)
        return _object(found, "url", "expires_at")

    def pictures(self, id_: str) -> Json:
        """Return the pictures of its pages."""
        return _object(self.connection.get(f"{ENVIRONMENTS}/{id_}/pictures"), "pictures", "message")

    def picture(self, path: str) -> AbstractContextManager[Iterator[bytes]]:
        """Return one of these pictures as PNG."""
        return self.connection.download(path, "image/png")

    def reset(self, id_: str) -> Preview:
        """Replace its data. Doesn't wait."""
        return _preview(self.connection.post(f"{ENVIRONMENTS}/{id_}/reset"))

    def data(self, id_: str) -> Json:
        """Return what its volumes started from, and how much they have changed."""
        return _object(self.connection.get(f"{ENVIRONMENTS}/{id_}/data", usage="true"), "volumes")

    def snapshots(self, app: str = "") -> list[Json]:
        """Return the snapshots, newest first."""
        return [_object(each, *SNAPSHOT_KEYS) for each in _list(self.connection.get(SNAPSHOTS, app=app))]

    def snapshot(self, id_: str) -> Json:
        """Return a snapshot by its id."""
        return _object(self.connection.get(f"{SNAPSHOTS}/{id_}"), *SNAPSHOT_KEYS)

    def create_snapshot(self, body: Mapping[str, Any]) -> Json:
        """Create a snapshot. Doesn't wait."""
        return _object(self.connection.post(SNAPSHOTS, body), *SNAPSHOT_KEYS)

    def restore(self, dump: Iterable[bytes], query: Mapping[str, str]) -> Json:
        """Create a snapshot from a dump. Doesn't wait for its restoration."""
        return _object(self.connection.upload(f"{SNAPSHOTS}/restore", dump, **query), *SNAPSHOT_KEYS)

    def use_snapshot(self, id_: str) -> Json:
        """Start new previews from this snapshot."""
        return _object(self.connection.post(f"{SNAPSHOTS}/{id_}/use"), *SNAPSHOT_KEYS)

    def use_newest_snapshot(self, id_: str) -> Json:
        """Start new previews from the newest snapshot instead of this one."""
        return _object(self.connection.delete(f"{SNAPSHOTS}/{id_}/use"), *SNAPSHOT_KEYS)

    def delete_snapshot(self, id_: str) -> None:
        """Delete a snapshot."""
        self.connection.delete(f"{SNAPSHOTS}/{id_}")

    def download(self, id_: str, volume: str) -> AbstractContextManager[Iterator[bytes]]:
        """Return the tar archive of a snapshot's volume."""
        return self.connection.download(f"{SNAPSHOTS}/{id_}/volumes/{quote(volume, safe='')}")

    def deployments(self, id_: str) -> list[Deployment]:
        """Return its deployments, newest first."""
        found = _list(self.connection.get(f"{ENVIRONMENTS}/{id_}/deployments"))
        return [_deployment(item) for item in found]

    def volumes(self, id_: str) -> list[Mapping[str, Any]]:
        """Return its named volumes with their sizes, as in the API. Takes seconds."""
        found = _list(self.connection.get(f"{ENVIRONMENTS}/{id_}/volumes"))
        return [each for each in found if isinstance(each, dict)]

    def log(self, id_: str, lines: int, service: str = "") -> list[str]:
        """Return the last lines of the log of a service, by default the main one."""
        path = f"{ENVIRONMENTS}/{id_}/log"
        return self.connection.text(path, lines=lines, **_of(service)).splitlines()

    def follow_log(self, id_: str, lines: int, service: str = "") -> AbstractContextManager[Iterator[str]]:
        """Return the last lines of a service's log and follow it, also across instances."""
        path = f"{ENVIRONMENTS}/{id_}/log"
        return self.connection.lines(path, lines=lines, follow="true", **_of(service))

    def build_log(self, id_: str, service: str = "") -> list[str]:
        """Return the log of its latest build, or of a service's."""
        return self.connection.text(f"{ENVIRONMENTS}/{id_}/build-log", **_of(service)).splitlines()

    def follow_build(self, id_: str, service: str = "") -> AbstractContextManager[Iterator[str]]:
        """Follow the log of its latest build, or of a service's, until the build ends."""
        return self.connection.lines(f"{ENVIRONMENTS}/{id_}/build-log", follow="true", **_of(service))


def _of(service: str) -> dict[str, str]:
    """The query that selects a service; none for the main one."""
    return {"service": service} if service else {}


def _preview(data: Any) -> Preview:
    try:
        texts = {
            key: str(data[key])
            for key in ("id", "app", "name", "url", "state", "message", "hint", "reason", "sha")
        }
        return Preview(
            **texts, generation=int(data["generation"]), serving=int(data["serving"] or 0), data=data
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected() from error


def _deployment(data: Any) -> Deployment:
    try:
        texts = {key: str(data[key]) for key in ("phase", "sha", "message")}
        return Deployment(int(data["generation"]), **texts, data=data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected() from error


def _list(data: object) -> list[object]:
    if not isinstance(data, list):
        raise _unexpected()
    return data


def _object(data: object, *keys: str) -> Json:
    if not isinstance(data, dict) or not set(keys) <= data.keys():
        raise _unexpected()
    return data


def _unexpected() -> ClientError:
    return ClientError(
        f"The server sent a response that this client (version {__version__}) can't read.",
        hint="Install the same version on the client and the server.",
        code=Code.UNREACHABLE,
    )
