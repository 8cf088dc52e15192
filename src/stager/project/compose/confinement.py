"""What a service asks for beyond its own container."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stager.project.compose.keys import LEAVE_OUT
from stager.project.compose.value import Refused, Value

CAPABILITIES = frozenset(
    {
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
        *("NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }
)
"""Those that Docker gives to each container (https://docs.docker.com/engine/containers/run/)."""

NAMESPACES = {
    "network_mode": frozenset({"", "bridge", "default"}),
    "pid": frozenset({"", "private"}),
    "ipc": frozenset({"", "private", "shareable", "none"}),
    "cgroup": frozenset({"", "private"}),
}
"""The values that keep a container in namespaces of its own."""

STRICTER = ("no-new-privileges", "apparmor=docker-default", "apparmor:docker-default")
"""The beginnings of security options that don't weaken the confinement."""


def check_confinement(service: dict[str, Value]) -> Iterator[Refused]:
    """The problems of a service's namespaces, capabilities and devices."""
    for key, accepted in NAMESPACES.items():
        value = service.get(key)
        if value is not None and (isinstance(value.data, dict | list) or value.text(key) not in accepted):
            said = f"`{key}` joins a namespace outside of the service's own container."
            yield value.refuse(said, LEAVE_OUT)
    yield from _items(service, "cap_add", "gives a capability that containers don't have", _is_usual)
    yield from _items(service, "security_opt", "weakens the container's confinement", _is_stricter)
    yield from _reserved_devices(service)


def _is_usual(word: str) -> bool:
    return word.upper().removeprefix("CAP_") in CAPABILITIES


def _is_stricter(word: str) -> bool:
    name, _, value = word.replace("=", ":", 1).partition(":")
    return word.startswith(STRICTER[1:]) or (name == STRICTER[0] and value in ("", "true"))


def _items(
    service: dict[str, Value], key: str, why: str, is_accepted: Callable[[str], bool]
) -> Iterator[Refused]:
    value = service.get(key)
    if value is None:
        return
    if isinstance(value.data, dict):
        yield value.refuse(f"`{key}` must be a list.")
        return
    for item in value.items(key):
        if isinstance(item.data, dict | list):
            yield item.refuse(f"`{key}` must be a list of text.")
        elif not is_accepted(item.text(key)):
            yield item.refuse(f"`{key}: {item.text(key)[:60]}` {why}.", LEAVE_OUT)


def _reserved_devices(service: dict[str, Value]) -> Iterator[Refused]:
    """`deploy.resources.reservations.devices`, by which GPUs are given."""
    found = service.get("deploy")
    for key in ("resources", "reservations", "devices"):
        data = found.data if found is not None else None
        found = data.get(key) if isinstance(data, dict) else None
    if found is not None and found.data:
        yield found.refuse("`devices` gives access to devices of the machine.", LEAVE_OUT)
