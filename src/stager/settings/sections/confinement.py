"""Which of the engine's create parameters an administrator may give, and which must be allowed by name.

What would let an instance out of its box needs `allow_create_params`; what Stager decides itself can't be
given at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stager.domain.names import did_you_mean
from stager.settings.loading.refusals import Path, refuse

BREAKING_OUT = (
    "Binds",
    "CapAdd",
    "Cgroup",
    "CgroupParent",
    "CgroupnsMode",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "IpcMode",
    "Links",
    "MaskedPaths",
    "Mounts",
    "PidMode",
    "PortBindings",
    "Privileged",
    "PublishAllPorts",
    "ReadonlyPaths",
    "Runtime",
    "SecurityOpt",
    "Sysctls",
    "UTSMode",
    "UsernsMode",
    "VolumesFrom",
)
"""Parameters that reach the host, other instances or the kernel."""

_NOT_TO_CHANGE = "Stager sets it itself"
OURS: Mapping[str, str] = {
    "AutoRemove": _NOT_TO_CHANGE,
    "Cmd": "use `command`",
    "Env": "use `env`",
    "ExposedPorts": "use `port`",
    "Image": "use `image`",
    "Labels": _NOT_TO_CHANGE,
    "Name": _NOT_TO_CHANGE,
    "NetworkMode": _NOT_TO_CHANGE,
    "NetworkingConfig": _NOT_TO_CHANGE,
    "RestartPolicy": "only Stager restarts instances",
}
"""Parameters that can't be given, each with what to do instead."""

HOST_CONFIG = "HostConfig"


def _fold(key: str) -> str:
    # The engine reads keys without regard to case, and so must we, including the letters that only fold
    # to ASCII ones.
    return key.casefold()


_BREAKING_OUT = {_fold(key): key for key in BREAKING_OUT}
_OURS = {_fold(key): key for key in OURS}


def check_allowed(names: Sequence[str]) -> None:
    """Refuse names in `allow_create_params` that needn't or can't be allowed."""
    strangers = [(i, name) for i, name in enumerate(names) if name not in BREAKING_OUT]
    if strangers:
        refuse(*(((i,), _why_not(name)) for i, name in strangers))


def _why_not(name: str) -> str:
    if name in OURS:
        return f'"{name}" can\'t be allowed; {OURS[name]}'
    hint = did_you_mean(name, BREAKING_OUT) or "other parameters may be given as they are"
    return f'"{name}" isn\'t a parameter that has to be allowed; {hint}'


def check_parameters(parameters: Mapping[str, object], allowed: Iterable[str]) -> None:
    """Refuse, all at once, the parameters that can't be given or aren't allowed."""
    found = list(_refusals(parameters, frozenset(allowed)))
    if found:
        refuse(*found)


def check_host_config(parameters: Mapping[str, object], allowed: Iterable[str]) -> None:
    """Refuse likewise what stands within `HostConfig`."""
    found = list(_of_level(parameters, frozenset(allowed)))
    if found:
        refuse(*found)


def _refusals(parameters: Mapping[str, object], allowed: frozenset[str]) -> Iterator[tuple[Path, str]]:
    yield from _of_level(parameters, allowed)
    for key, value in parameters.items():
        if _fold(key) != _fold(HOST_CONFIG):
            continue
        if key != HOST_CONFIG:
            yield (key,), f"should be written {HOST_CONFIG}"
        if isinstance(value, Mapping):
            yield from (((key, *path), message) for path, message in _of_level(value, allowed))
        else:
            yield (key,), "should be a mapping"


def _of_level(parameters: Mapping[str, object], allowed: frozenset[str]) -> Iterator[tuple[Path, str]]:
    for key in parameters:
        if ours := _OURS.get(_fold(key)):
            yield (key,), f"can't be given; {OURS[ours]}"
        elif (name := _BREAKING_OUT.get(_fold(key))) and name not in allowed:
            yield (key,), f"opens the instance's box; list {name} under `allow_create_params` if you mean it"
