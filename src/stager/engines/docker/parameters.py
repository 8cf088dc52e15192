"""The body of Docker's create call: our defaults, the administrator's parameters over them, ours last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stager.engines.docker import labels
from stager.engines.docker.networks import Lease
from stager.ports.engine import InstanceSpec

DROPPED_CAPABILITIES = ["NET_RAW", "MKNOD", "AUDIT_WRITE"]
"""Of the capabilities that Docker leaves a container, those that no web application needs."""


def create_body(spec: InstanceSpec, installation: str, lease: Lease, *, publish: bool) -> dict[str, Any]:
    """What to ask Docker for.

    Args:
        publish: whether the port must be published on the loopback address, for a host that can't dial
            the container's own.
    """
    body = merge(_defaults(spec), spec.parameters)
    return merge(body, _ours(spec, installation, lease, publish=publish))


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, maps within maps merged likewise; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        deeper = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = merge(below, value) if deeper and isinstance(below, Mapping) else value
    return merged


def _defaults(spec: InstanceSpec) -> dict[str, Any]:
    limits = spec.limits
    return {
        **({"Healthcheck": {"Test": ["NONE"]}} if _checks_image(spec) else {}),
        "StopTimeout": round(spec.stop_grace),
        "HostConfig": {
            "Init": True,
            "Memory": limits.memory,
            "NanoCpus": int(limits.cpus * 1_000_000_000),
            "PidsLimit": limits.pids,
            "LogConfig": {
                "Type": "json-file",
                "Config": {"max-size": str(limits.log_size), "max-file": "1"},
            },
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": DROPPED_CAPABILITIES,
        },
    }


def _checks_image(spec: InstanceSpec) -> bool:
    """Whether Docker's own periodic check is switched off. Nothing reads what it finds, and each run costs
    a process in every preview, for ever; a check that the administrator's parameters set stays."""
    return spec.runs_healthcheck and "Healthcheck" not in spec.parameters


def _ours(spec: InstanceSpec, installation: str, lease: Lease, *, publish: bool) -> dict[str, Any]:
    port = f"{spec.port}/tcp"
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.variables.items()],
        "ExposedPorts": {port: {}},
        "Labels": {
            **labels.from_birth(spec.birth),
            labels.INSTALLATION: installation,
            labels.NETWORK: lease.network,
            labels.ADDRESS: lease.address,
            labels.PORT: str(spec.port),
            **({labels.HEALTHCHECK: "image"} if _checks_image(spec) else {}),
        },
        "HostConfig": {"NetworkMode": lease.network, "RestartPolicy": {"Name": "no"}},
        "NetworkingConfig": {
            "EndpointsConfig": {lease.network: {"IPAMConfig": {"IPv4Address": lease.address}}}
        },
    }
    if spec.command:
        body["Cmd"] = list(spec.command)
    if publish:
        body["HostConfig"]["PortBindings"] = {port: [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    return body
