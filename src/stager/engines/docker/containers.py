"""Reads Docker's answers about Stager's containers."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from stager.domain.environment import Instance, InstanceState
from stager.domain.route import Endpoint
from stager.engines.docker import labels
from stager.engines.docker.network.pool import generation_of

STATES = {
    "created": InstanceState.CREATED,
    "running": InstanceState.RUNNING,
    "paused": InstanceState.PAUSED,
}
"""All other states of Docker (exited, dead, removing) mean that the container ended. A paused one hasn't. It
needn't sleep: `docker commit` pauses the container that it copies."""
ALIVE = (InstanceState.RUNNING, InstanceState.PAUSED)

INCOMPLETE = ".incomplete"
"""At the end of a container's name until its content is copied. A service's name has no dot."""

NO_PORT = "0"
"""The label `PORT` of a container without a port."""


def name_of(installation: str, deployment: str, service: str) -> str:
    """The name of the container of this service of this deployment."""
    return f"stager-{installation}-{deployment}-{service}"


def is_ours(row: Mapping[str, Any], installation: str) -> bool:
    """Whether Stager created the container of this row of Docker's list. An image that was committed from
    one of Stager's containers passes the labels on to any container created from it, but not the name."""
    names = row["Labels"]
    expected = name_of(installation, names.get(labels.DEPLOYMENT, ""), names.get(labels.SERVICE, ""))
    return f"/{expected}" in (row["Names"] or ())


def incomplete_names(row: Mapping[str, Any], installation: str) -> list[str]:
    """The name of a container of Stager whose content isn't complete; see `INCOMPLETE`."""
    names = row["Labels"]
    expected = name_of(installation, names.get(labels.DEPLOYMENT, ""), names.get(labels.SERVICE, ""))
    return [name[1:] for name in row["Names"] or () if name == f"/{expected}{INCOMPLETE}"]


def joined(container: Mapping[str, Any]) -> frozenset[str]:
    """The networks of generations that a container has joined, in a row of Docker's list or an answer to its
    inspect call. It is in them once it runs."""
    return frozenset(network for network in _networks_of(container) if generation_of(network))


def address_in(row: Mapping[str, Any], network: str) -> str:
    """The address of a container in a network, which it may get only once it runs; empty if there is none."""
    if row["Labels"].get(labels.NETWORK) == network:
        return str(row["Labels"][labels.ADDRESS])
    entry = _networks_of(row).get(network) or {}
    return str((entry.get("IPAMConfig") or {}).get("IPv4Address") or entry.get("IPAddress") or "")


def _networks_of(container: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    networks: Mapping[str, Mapping[str, Any]] = container["NetworkSettings"].get("Networks") or {}
    return networks


def summary_of(row: Mapping[str, Any]) -> Instance:
    """The instance of a row of Docker's list, which lacks the time of the start."""
    state = STATES.get(row["State"], InstanceState.STOPPED)
    return _instance(row["Id"], row["Labels"], joined(row), state)


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
        joined(container),
        state,
        started_at="" if state is InstanceState.CREATED else facts["StartedAt"],
        exit_code=None if state in ALIVE else facts["ExitCode"],
        memory_exceeded=memory_exceeded(container),
        endpoint=endpoint if is_running else None,
    )


def _instance(
    container: str,
    container_labels: Mapping[str, str],
    networks: frozenset[str],
    state: InstanceState,
    **facts: Any,
) -> Instance:
    network = container_labels[labels.NETWORK]
    return Instance(
        container,
        environment=container_labels[labels.ENVIRONMENT],
        service=container_labels[labels.SERVICE],
        deployment=container_labels[labels.DEPLOYMENT],
        generation=int(container_labels[labels.GENERATION]),
        state=state,
        network=network,
        joined=networks - {network},
        generations=frozenset(map(generation_of, {network, *networks})) - {0},
        inputs=container_labels[labels.INPUTS],
        **facts,
    )


def _published_port(container: Mapping[str, Any]) -> Endpoint | None:
    port = container["Config"]["Labels"][labels.PORT]
    if port == NO_PORT:
        return Endpoint("127.0.0.1", 0)
    published = (container["NetworkSettings"]["Ports"] or {}).get(f"{port}/tcp") or []
    return Endpoint(published[0]["HostIp"], int(published[0]["HostPort"])) if published else None


def _address(container: Mapping[str, Any]) -> Endpoint | None:
    container_labels = container["Config"]["Labels"]
    network = container["NetworkSettings"]["Networks"].get(container_labels[labels.NETWORK]) or {}
    address = network.get("IPAddress") or ""
    return Endpoint(address, int(container_labels[labels.PORT])) if address else None


def memory_exceeded(container: Mapping[str, Any]) -> int:
    """See `Instance.memory_exceeded`. Docker sets `OOMKilled` when any process of the container exceeded the
    limit. A container that went on and exited with 0, or was stopped, didn't end because of it."""
    facts = container["State"]
    has_failed = facts["Status"] not in ("running", "paused") and facts["ExitCode"] not in (
        0,
        128 + signal.SIGTERM,
    )
    return int(container["HostConfig"]["Memory"]) if facts.get("OOMKilled") and has_failed else 0
