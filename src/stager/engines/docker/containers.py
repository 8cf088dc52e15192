"""Reads Docker's answers about Stager's containers."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from stager.domain.environment import Instance, InstanceState
from stager.domain.route import Endpoint
from stager.engines.docker import labels

STATES = {
    "created": InstanceState.CREATED,
    "running": InstanceState.RUNNING,
    "paused": InstanceState.RUNNING,
}
"""All other states of Docker (exited, dead, removing) mean that the container ended. A paused one hasn't:
`docker commit` pauses the container that it copies."""


def name_of(installation: str, deployment: str, service: str) -> str:
    """The name of the container of this service of this deployment."""
    return f"stager-{installation}-{deployment}-{service}"


def is_ours(row: Mapping[str, Any], installation: str) -> bool:
    """Whether Stager created the container of this row of Docker's list. An image that was committed from
    one of Stager's containers passes the labels on to any container created from it, but not the name."""
    names = row["Labels"]
    expected = name_of(installation, names.get(labels.DEPLOYMENT, ""), names.get(labels.SERVICE, ""))
    return f"/{expected}" in (row["Names"] or ())


def summary_of(row: Mapping[str, Any]) -> Instance:
    """The instance of a row of Docker's list, which lacks the time of the start."""
    state = STATES.get(row["State"], InstanceState.STOPPED)
    return _instance(row["Id"], row["Labels"], state)


def instance_of(container: Mapping[str, Any], *, loopback: bool) -> Instance:
    """The instance of an answer to Docker's inspect call.

    Args:
        loopback: whether it is reached by a port published on 127.0.0.1.
    """
    facts = container["State"]
    state = STATES.get(facts["Status"], InstanceState.STOPPED)
    is_running = state is InstanceState.RUNNING
    endpoint = _published_port(container) if loopback else _address(container)
    return _instance(
        container["Id"],
        container["Config"]["Labels"],
        state,
        started_at="" if state is InstanceState.CREATED else facts["StartedAt"],
        exit_code=None if is_running else facts["ExitCode"],
        memory_exceeded=_memory_exceeded(container),
        endpoint=endpoint if is_running else None,
    )


def _instance(
    container: str, container_labels: Mapping[str, str], state: InstanceState, **facts: Any
) -> Instance:
    return Instance(
        container,
        environment=container_labels[labels.ENVIRONMENT],
        service=container_labels[labels.SERVICE],
        deployment=container_labels[labels.DEPLOYMENT],
        generation=int(container_labels[labels.GENERATION]),
        state=state,
        network=container_labels[labels.NETWORK],
        inputs=container_labels[labels.INPUTS],
        **facts,
    )


def _published_port(container: Mapping[str, Any]) -> Endpoint | None:
    port = container["Config"]["Labels"][labels.PORT]
    published = (container["NetworkSettings"]["Ports"] or {}).get(f"{port}/tcp") or []
    return Endpoint(published[0]["HostIp"], int(published[0]["HostPort"])) if published else None


def _address(container: Mapping[str, Any]) -> Endpoint | None:
    container_labels = container["Config"]["Labels"]
    network = container["NetworkSettings"]["Networks"].get(container_labels[labels.NETWORK]) or {}
    address = network.get("IPAddress") or ""
    return Endpoint(address, int(container_labels[labels.PORT])) if address else None


def _memory_exceeded(container: Mapping[str, Any]) -> int:
    """See `Instance.memory_exceeded`. Docker sets `OOMKilled` when any process of the container exceeded the
    limit. A container that went on and exited with 0, or was stopped, didn't end because of it."""
    facts = container["State"]
    has_failed = facts["Status"] != "running" and facts["ExitCode"] not in (0, 128 + signal.SIGTERM)
    return int(container["HostConfig"]["Memory"]) if facts.get("OOMKilled") and has_failed else 0
