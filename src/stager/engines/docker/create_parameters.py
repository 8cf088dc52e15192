"""The body of Docker's create call: Stager's defaults, the administrator's parameters over them, and last
what Stager never leaves to them.

Related parameters are completed in between: `Memory` sets `MemorySwap` and `MemorySwappiness` as well, and a
single limit in `Ulimits` keeps the others.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stager.engines.docker import labels
from stager.engines.docker.network.pool import Lease
from stager.ports.engine import InstanceSpec

NO_CORE: Mapping[str, Any] = {"Name": "core", "Soft": 0, "Hard": 0}
"""No core dumps: the kernel writes them where the host's `core_pattern` says (core(5))."""

OPEN_FILES: Mapping[str, Any] = {"Name": "nofile", "Soft": 16_384, "Hard": 16_384}
"""Open files of a process: ten times the default of servers and databases, and a small part of the machine's
limit (proc_sys_fs(5), `file-max`). Few engines have a lower limit themselves."""

HOST_NAME_LENGTH = 63
"""Maximum length of a label of a host name (RFC 1035, 2.3.4)."""

COMPLETED = (
    "Binds",
    "Memory",
    "MemorySwap",
    "MemorySwappiness",
    "Mounts",
    "Privileged",
    "ReadonlyRootfs",
    "SecurityOpt",
    "Tmpfs",
    "Ulimits",
)
"""The parameters of `HostConfig` that this module reads. Docker ignores the case of their names."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What is mounted in a container.

    Args:
        mounts: the service's volumes, as Docker's create call has them.
        tmpfs: further options by path, for paths that get a tmpfs of half the memory each.
    """

    mounts: Sequence[Mapping[str, Any]] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)


def create_body(
    spec: InstanceSpec,
    own_labels: Mapping[str, str],
    lease: Lease,
    *,
    publish: bool,
    seccomp_profile: str = "",
    ulimits: Sequence[Mapping[str, Any]] = (NO_CORE, OPEN_FILES),
    storage: Storage = Storage(),
) -> dict[str, Any]:
    """The body of the create call.

    Args:
        own_labels: further labels of the container.
        publish: whether to publish the port on the loopback address, for hosts that can't connect to the
            container's own address.
        seccomp_profile: used unless the administrator sets one; empty for the engine's.
        ulimits: the limits that the administrator doesn't override.
        storage: what is mounted where the administrator mounts nothing.
    """
    body = merge(_defaults(spec), _with_known_names(spec.container.parameters))
    body = merge(body, {"HostConfig": _storage(body, spec, storage.mounts)})
    tmpfs = _tmpfs(body, storage.tmpfs, spec.profile.limits.memory)
    body = merge(body, {"HostConfig": {**_completion(body["HostConfig"], seccomp_profile, ulimits), **tmpfs}})
    return merge(body, _ours(spec, own_labels, lease, publish=publish))


def cleaned(path: str) -> str:
    """A path as Docker compares it: without double slashes, dots and a final slash (Go's `path.Clean`)."""
    return "/" + posixpath.normpath(path).lstrip("/")


def is_read_only(spec: InstanceSpec) -> bool:
    """Whether the administrator makes the root file system read-only."""
    return bool(_with_known_names(spec.container.parameters)["HostConfig"].get("ReadonlyRootfs"))


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `base` updated by `over`, nested maps recursively."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        deeper = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = merge(below, value) if deeper and isinstance(below, Mapping) else value
    return merged


def _with_known_names(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the names of `COMPLETED` in their usual case: `memory` overrides `Memory`."""
    host = parameters.get("HostConfig") or {}
    known = {name.casefold(): name for name in COMPLETED}
    named = {known.get(key.casefold(), key): value for key, value in host.items()}
    return {**parameters, "HostConfig": named}


def _completion(
    host: Mapping[str, Any], seccomp_profile: str, ulimits: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The parameters that complete the given ones."""
    given = list(host.get("Ulimits") or ())
    named = {value for each in given for key, value in each.items() if key.casefold() == "name"}
    completion: dict[str, Any] = {
        "Ulimits": [*given, *(each for each in ulimits if each["Name"] not in named)]
    }
    if "MemorySwap" not in host and (host.get("Memory") or 0) > 0:
        completion["MemorySwap"] = host["Memory"]  # that is, no swap: Docker counts both together
        # For cgroup v1, where that limits the sum only. The memory of a paused container is moved to swap all
        # the same, see `stager.helper.memory`.
        completion |= {} if "MemorySwappiness" in host else {"MemorySwappiness": 0}
    options = list(host.get("SecurityOpt") or ())
    is_chosen = host.get("Privileged") or any(str(option).startswith("seccomp") for option in options)
    if seccomp_profile and not is_chosen:
        completion["SecurityOpt"] = [*options, f"seccomp={seccomp_profile}"]
    return completion


def _tmpfs(body: Mapping[str, Any], volumes: Mapping[str, str], memory: int) -> dict[str, Any]:
    """The tmpfs mounts that replace volumes. Half the memory each: if one is full, writing fails, and the
    application isn't killed."""
    host, mounted = body["HostConfig"], _mounted(body)
    size = (host.get("Memory") or memory) // 2
    wanted = {path: more for path, more in volumes.items() if cleaned(path) not in mounted}
    if not wanted:
        return {}
    options = {path: f"rw,exec,size={size}{more and ','}{more}" for path, more in wanted.items()}
    return {"Tmpfs": {**(host.get("Tmpfs") or {}), **options}}


def _storage(
    body: Mapping[str, Any], spec: InstanceSpec, mounts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The mounts and tmpfs mounts of the service besides those of the administrator. The pages of a tmpfs
    count as the instance's memory."""
    host, mounted = body["HostConfig"], _mounted(body)
    ours = [mount for mount in mounts if cleaned(mount["Target"]) not in mounted]
    size = (host.get("Memory") or spec.profile.limits.memory) // 2
    paths = [path for path in spec.container.tmpfs if cleaned(path) not in mounted]
    storage: dict[str, Any] = {}
    if ours:
        storage["Mounts"] = [*(host.get("Mounts") or ()), *ours]
    if paths:
        storage["Tmpfs"] = {**(host.get("Tmpfs") or {}), **dict.fromkeys(paths, f"rw,exec,size={size}")}
    return storage


def _mounted(body: Mapping[str, Any]) -> set[str]:
    """The paths at which the administrator mounts something."""
    host = body["HostConfig"]
    mounts = [
        value
        for mount in host.get("Mounts") or ()
        for key, value in mount.items()
        if key.casefold() == "target"
    ]
    binds = [f"{bind}:".split(":")[1] for bind in host.get("Binds") or ()]
    volumes = [path for key in body if key.casefold() == "volumes" for path in body[key] or ()]
    return {cleaned(path) for path in (*mounts, *binds, *volumes, *(host.get("Tmpfs") or ()))}


def _defaults(spec: InstanceSpec) -> dict[str, Any]:
    limits, container = spec.profile.limits, spec.container
    return {
        **({"Healthcheck": {"Test": ["NONE"]}} if _checks_image(spec) else {}),
        **_process(spec),
        "StopTimeout": round(container.stop_grace_period),
        "HostConfig": {
            "Init": True,
            **({"ShmSize": container.shared_memory} if container.shared_memory is not None else {}),
            **({"Runtime": spec.profile.runtime} if spec.profile.runtime else {}),
            "Memory": limits.memory,
            "NanoCpus": int(limits.cpus * 1_000_000_000),
            "PidsLimit": limits.pids,
            "LogConfig": {
                "Type": "json-file",
                "Config": {"max-size": str(limits.log_size), "max-file": "1"},
            },
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": list(spec.profile.dropped_capabilities),
        },
    }


def _process(spec: InstanceSpec) -> dict[str, Any]:
    """What a service sets itself of its process."""
    container = spec.container
    given = {
        "User": container.user,
        "WorkingDir": container.working_dir,
        "StopSignal": container.stop_signal,
        # A database may store its data under its host name, which therefore has to outlive the container.
        "Hostname": spec.aliases[0].replace("_", "-")[:HOST_NAME_LENGTH] if spec.aliases else "",
    }
    return {name: value for name, value in given.items() if value}


def _checks_image(spec: InstanceSpec) -> bool:
    """Whether Docker's periodic HEALTHCHECK is switched off. Nothing reads its results, and each run costs a
    process in every preview. A check in the administrator's parameters stays."""
    return spec.container.has_healthcheck and "Healthcheck" not in spec.container.parameters


def _ours(
    spec: InstanceSpec, own_labels: Mapping[str, str], lease: Lease, *, publish: bool
) -> dict[str, Any]:
    container = spec.container
    port = f"{container.port}/tcp"
    endpoint: dict[str, Any] = {"IPAMConfig": {"IPv4Address": lease.address}}
    if spec.network:
        endpoint["Aliases"] = list(spec.aliases)
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in {**spec.variables, **spec.per_commit}.items()],
        "Labels": {
            **labels.encode(spec.labels),
            **own_labels,
            labels.NETWORK: lease.network,
            labels.ADDRESS: lease.address,
            labels.PORT: str(container.port or 0),
            **({labels.HEALTHCHECK: "image"} if _checks_image(spec) else {}),
            **({labels.ALIASES: json.dumps(spec.aliases)} if spec.aliases else {}),
        },
        "HostConfig": {"NetworkMode": lease.network, "RestartPolicy": {"Name": "no"}},
        "NetworkingConfig": {"EndpointsConfig": {lease.network: endpoint}},
    }
    if container.command:
        body["Cmd"] = list(container.command)
    if container.entrypoint is not None:
        body["Entrypoint"] = list(container.entrypoint) or [""]  # an empty list would mean the image's
    if container.port:
        body["ExposedPorts"] = {port: {}}
        if publish:
            body["HostConfig"]["PortBindings"] = {port: [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    return body
