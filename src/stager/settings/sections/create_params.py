"""Checks the parameters of the engine's create call that the configuration gives.

Those that weaken the container's isolation must be listed in `allow_create_params`; those that Stager sets
itself are rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stager.domain.names import did_you_mean
from stager.settings.loading.refusals import Path, refuse

WEAKENING = (
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
"""Parameters that give access to the host, other instances or the kernel."""

_SET_BY_STAGER = "Stager sets it itself"
OURS: Mapping[str, str] = {
    "AutoRemove": _SET_BY_STAGER,
    "Cmd": "use `command`",
    "Env": "use `env`",
    "ExposedPorts": "use `port`",
    "Image": "use `image`",
    "Labels": _SET_BY_STAGER,
    "Name": _SET_BY_STAGER,
    "NetworkMode": _SET_BY_STAGER,
    "NetworkingConfig": _SET_BY_STAGER,
    "RestartPolicy": "only Stager restarts instances",
}
"""Parameters that can't be given, each with the alternative."""

HOST_CONFIG = "HostConfig"


def _fold(key: str) -> str:
    # The engine ignores the case of keys, including letters outside ASCII that fold to ASCII ones.
    return key.casefold()


_WEAKENING = {_fold(key): key for key in WEAKENING}
_OURS = {_fold(key): key for key in OURS}


def check_allowed(names: Sequence[str]) -> None:
    """Refuse names in `allow_create_params` that can't be allowed or need no permission."""
    unknown = [(i, name) for i, name in enumerate(names) if name not in WEAKENING]
    if unknown:
        refuse(*(((i,), _why_not(name)) for i, name in unknown))


def _why_not(name: str) -> str:
    if name in OURS:
        return f'"{name}" can\'t be allowed; {OURS[name]}'
    hint = did_you_mean(name, WEAKENING) or "other parameters need no permission"
    return f'"{name}" isn\'t a parameter that needs permission; {hint}'


def check_parameters(parameters: Mapping[str, object], allowed: Iterable[str]) -> None:
    """Refuse all parameters that can't be given or aren't allowed at once."""
    found = list(_refusals(parameters, frozenset(allowed)))
    if found:
        refuse(*found)


def check_host_config(parameters: Mapping[str, object], allowed: Iterable[str]) -> None:
    """Refuse the same within `HostConfig`."""
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
        elif (name := _WEAKENING.get(_fold(key))) and name not in allowed:
            yield (
                (key,),
                f"weakens the container's isolation; to permit it, add {name} to `allow_create_params`",
            )
