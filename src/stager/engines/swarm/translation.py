"""Translates the body of Docker's create call to the task template of a Swarm service.

What Swarm can't set for a service is refused if it was configured, because the instance would run without it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from stager.domain.errors import Fault
from stager.engines.docker import labels, seccomp

IGNORED = frozenset(
    {
        "exposedports",
        "image",
        "labels",
        "networkingconfig",
        "stoptimeout",
        "hostconfig",
        "volumes",
    }
)
"""Parameters that the service's specification has elsewhere."""
HOST_IGNORED = frozenset(
    {"memoryswap", "memoryswappiness", "networkmode", "portbindings", "restartpolicy", "securityopt"}
)
"""As `IGNORED`, of `HostConfig`. Swarm limits memory only, so the kernel may swap beside it."""

CONTAINER = {
    "cmd": "Args",
    "entrypoint": "Command",
    "env": "Env",
    "user": "User",
    "workingdir": "Dir",
    "stopsignal": "StopSignal",
    "hostname": "Hostname",
    "tty": "TTY",
    "openstdin": "OpenStdin",
}
"""Parameters of a container by their names there, and their names in `ContainerSpec`."""
HOST = {
    "init": "Init",
    "readonlyrootfs": "ReadOnly",
    "capdrop": "CapabilityDrop",
    "capadd": "CapabilityAdd",
    "ulimits": "Ulimits",
    "sysctls": "Sysctls",
    "groupadd": "Groups",
}
"""As `CONTAINER`, of `HostConfig`."""
RESOURCES = {"memory": "MemoryBytes", "nanocpus": "NanoCPUs", "pidslimit": "Pids"}
"""As `HOST`, in `Resources.Limits`."""
DNS = {"dns": "Nameservers", "dnssearch": "Search", "dnsoptions": "Options"}
"""As `HOST`, in `DNSConfig`."""

SHARED_MEMORY = "/dev/shm"  # noqa: S108 (a path in the container)
OPEN_MODE = 0o1777
"""Mode of a tmpfs that belongs to another user than root: Swarm can't set the owner."""

Row = dict[str, Any]


def task_template(body: Mapping[str, Any]) -> Row:
    """The task template, without image, networks, placement and restart policy.

    Args:
        body: as `create_parameters.create_body` makes it.

    Raises:
        Fault: `swarm-parameter`: Swarm can't set one of the parameters.
    """
    host = body.get("HostConfig") or {}
    container: Row = {
        "Labels": {labels.HEALTHCHECK: "image", **body["Labels"]},
        # Swarm ends the task of a container that isn't healthy. Stager runs the check itself.
        "Healthcheck": {"Test": ["NONE"]},
        "StopGracePeriod": int(body["StopTimeout"] * 1_000_000_000),
    }
    template: Row = {"ContainerSpec": container, "Resources": {"Limits": {}}}
    for name, value in body.items():
        _set_container(container, name, value)
    for name, value in host.items():
        _set_host(template, name, value)
    _set_security(container, host.get("SecurityOpt") or ())
    container["Mounts"] = _mounts(body, host)
    memory = template["Resources"]["Limits"].get("MemoryBytes")
    if memory:
        template["Resources"]["Reservations"] = {"MemoryBytes": memory}
    return template


def _set_container(container: Row, name: str, value: object) -> None:
    key = name.casefold()
    if key in IGNORED or not value:
        return
    if key == "healthcheck":
        if value != {"Test": ["NONE"]}:
            container["Labels"][labels.HEALTHCHECK] = json.dumps(value)
        return
    if key not in CONTAINER:
        raise _unknown(name)
    container[CONTAINER[key]] = value


def _set_host(template: Row, name: str, value: Any) -> None:
    key, container = name.casefold(), template["ContainerSpec"]
    special: Mapping[str, Callable[[Row, Any], None]] = {
        "logconfig": _set_log,
        "extrahosts": _set_hosts,
        "mounts": _nothing,
        "tmpfs": _nothing,
        "shmsize": _nothing,
    }
    if key in HOST_IGNORED or not value:
        return
    if key in special:
        special[key](template, value)
    elif key in HOST:
        container[HOST[key]] = value
    elif key in RESOURCES:
        template["Resources"]["Limits"][RESOURCES[key]] = value
    elif key in DNS:
        container.setdefault("DNSConfig", {})[DNS[key]] = value
    else:
        raise _unknown(f"HostConfig.{name}")


def _nothing(template: Row, value: Any) -> None:
    """`_mounts` reads it."""


def _set_log(template: Row, value: Mapping[str, Any]) -> None:
    template["LogDriver"] = {"Name": value.get("Type", ""), "Options": value.get("Config") or {}}


def _set_hosts(template: Row, value: Any) -> None:
    pairs = (str(each).partition(":") for each in value)
    template["ContainerSpec"]["Hosts"] = [f"{address} {name}" for name, _, address in pairs]


def _set_security(container: Row, options: Any) -> None:
    """Docker before 25 ignores `NoNewPrivileges` of a service; `stager doctor` says so."""
    for option in options:
        if option == "no-new-privileges":
            container["Privileges"] = {"NoNewPrivileges": True}
        elif option != f"seccomp={seccomp.profile()}":
            raise _unknown(f"HostConfig.SecurityOpt: {str(option)[:40]}")


def _mounts(body: Mapping[str, Any], host: Mapping[str, Any]) -> list[Row]:
    mounts = [dict(mount) for mount in host.get("Mounts") or ()]
    mounts += [{"Type": "volume", "Target": path} for path in body.get("Volumes") or ()]
    mounts += [_tmpfs(path, options) for path, options in (host.get("Tmpfs") or {}).items()]
    if host.get("ShmSize"):
        size = int(host["ShmSize"])
        mounts.append({"Type": "tmpfs", "Target": SHARED_MEMORY, "TmpfsOptions": {"SizeBytes": size}})
    return mounts


def _tmpfs(path: str, options: str) -> Row:
    """A tmpfs mount from the options of `HostConfig.Tmpfs`, such as `rw,size=1024,mode=755`."""
    given = dict(each.partition("=")[::2] for each in options.split(","))
    wanted: Row = {}
    if given.get("size", "").isdecimal():
        wanted["SizeBytes"] = int(given["size"])
    if given.get("uid", "0") != "0" or given.get("gid", "0") != "0":
        wanted["Mode"] = OPEN_MODE
    elif given.get("mode"):
        wanted["Mode"] = int(given["mode"], 8)
    return {"Type": "tmpfs", "Target": path, "TmpfsOptions": wanted}


def _unknown(name: str) -> Fault:
    return Fault(
        f"Docker Swarm can't set `{name}` for a service.",
        hint="Remove it from `container_create_params` and from the service, or use the engine `docker`.",
        reason="swarm-parameter",
    )
