"""Docker's API (https://docs.docker.com/reference/api/engine/), for what tests ask so often that starting the
command `docker` each time would take minutes of the whole."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

_DEFAULT = "unix:///var/run/docker.sock"
_VERSION = "v1.41"
_LISTINGS = {
    "container": "/containers/json?all=true&",
    "network": "/networks?",
    "volume": "/volumes?",
    "image": "/images/json?",
}
_REMOVALS = {
    "container": "/containers/{}?force=true&v=true",
    "network": "/networks/{}",
    "volume": "/volumes/{}?force=true",
    "image": "/images/{}?force=true",
}


class _Connection(http.client.HTTPConnection):
    def __init__(self) -> None:
        super().__init__("docker", timeout=120)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.environ.get("DOCKER_HOST", _DEFAULT).removeprefix("unix://"))


def listed(kind: str, *filters: str) -> list[str]:
    """The ids of containers, networks or images, or the names of volumes.

    Args:
        kind: `container`, `network`, `volume` or `image`.
        filters: as those of `docker ps`, such as `label=a=b`.
    """
    found = _list(kind, filters)
    return [each["Name"] for each in found["Volumes"] or ()] if kind == "volume" else [f["Id"] for f in found]


def labels_of_containers(*filters: str) -> dict[str, dict[str, str]]:
    """The labels of containers by id, of one moment: one that is removed after it can't be inspected."""
    return {each["Id"]: each["Labels"] for each in _list("container", filters)}


def _list(kind: str, filters: Sequence[str]) -> Any:
    wanted: dict[str, list[str]] = {}
    for each in filters:
        name, _, value = each.partition("=")
        wanted.setdefault(name, []).append(value)
    return _ask("GET", _LISTINGS[kind] + urlencode({"filters": json.dumps(wanted)}))


def remove(kind: str, *ids: str) -> None:
    """Remove them by force; containers with their anonymous volumes. What isn't there is left out."""
    for each in ids:
        accepted = (404, 409) if kind == "container" else (404,)  # 409: its removal is in progress
        _ask("DELETE", _REMOVALS[kind].format(quote(each, safe="")), accepted)


def remove_labelled(label: str) -> None:
    """Remove every container, network and volume with this label.

    Args:
        label: its name, or `name=value`.
    """
    for kind in ("container", "network", "volume"):
        remove(kind, *listed(kind, f"label={label}"))


def _ask(method: str, path: str, accepted: tuple[int, ...] = ()) -> Any:
    connection = _Connection()
    try:
        connection.request(method, f"/{_VERSION}{path}")
        response = connection.getresponse()
        body = response.read()
        is_ok = response.status < 300 or response.status in accepted
        assert is_ok, f"{method} {path}: {response.status} {body.decode(errors='replace')}"
        return json.loads(body) if method == "GET" else None
    finally:
        connection.close()
