"""Reads `ports` and `expose`."""

from __future__ import annotations

import re

from stager.project.compose.images import page_of
from stager.project.compose.value import Value

LESS_LIKELY = frozenset({443, 8443, 9229, 9230, 5678, 5005, 35729, 24678, 6006, 22, 25, 1025})
"""Ports that are only taken if there is no other: TLS, debuggers, reloading, SSH, mail."""

_SHORT = re.compile(
    r"(?:(?:\[[0-9A-Fa-f:.]*\]|[0-9.]*):)?(?:(?:\d*|\d+-\d+):)?(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?"
)
_KEYS = frozenset({"target", "published", "host_ip", "protocol", "mode", "name", "app_protocol"})


def read_ports(value: Value, what: str) -> tuple[int, ...]:
    """Return the TCP ports inside the container, in the file's order; of a range, the first.

    Raises:
        Refused: an entry isn't a port.
    """
    found = (_long(item) if isinstance(item.data, dict) else _short(item, what) for item in value.items(what))
    return tuple(dict.fromkeys(port for port in found if port is not None))


def choose(ports: tuple[int, ...], image: str) -> int | None:
    """Return the port that gets requests; None for none."""
    page = page_of(image)
    if page in ports:
        return page
    return next((port for port in ports if port not in LESS_LIKELY), ports[0] if ports else None)


def _short(item: Value, what: str) -> int | None:
    text = item.text(f"An entry of {what}")
    found = _SHORT.fullmatch(text.lower())
    if found is None:
        raise item.refuse(f"{text[:40]!r} in {what} isn't a port.", 'Write it like "8080:80".')
    return _checked(item, int(found[1][:6])) if found[3] in (None, "tcp") else None


def _long(item: Value) -> int | None:
    given = item.mapping("An entry of `ports`")
    if unknown := given.keys() - _KEYS:
        raise item.refuse(f"`{min(unknown)}` isn't a key of a port.")
    target = given["target"].text("`target`") if "target" in given else ""
    if not target.isdecimal() or not target.isascii():
        raise item.refuse("A port needs `target`, a number.")
    protocol = given["protocol"].text("`protocol`") if "protocol" in given else "tcp"
    return _checked(item, int(target[:6])) if protocol.lower() == "tcp" else None


def _checked(item: Value, port: int) -> int:
    if not 0 < port < 1 << 16:
        raise item.refuse("A port must be between 1 and 65535.")
    return port
