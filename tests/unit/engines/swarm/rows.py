"""Rows of a Swarm manager, as Docker 20.10 answers them."""

from __future__ import annotations

from typing import Any

from stager.engines.docker import labels
from stager.engines.swarm import marks
from stager.engines.swarm.observation import Observed, observed

Row = dict[str, Any]
INSTALLATION = "i1"


def node(id_: str = "n1", state: str = "ready", availability: str = "active", ready: str = "yes") -> Row:
    return {
        "ID": id_,
        "Spec": {"Availability": availability, "Labels": {marks.ready_label(INSTALLATION): ready}},
        "Description": {"Hostname": f"host-{id_}"},
        "Status": {"State": state, "Addr": "10.0.0.1"},
    }


def service(
    id_: str = "s1",
    generation: int = 1,
    *,
    kept: bool = False,
    generations: tuple[int, ...] = (),
    port: int = 20_001,
    replicas: int = 1,
    volume: str = "",
) -> Row:
    """A service of the environment `e1`; with `generations`, one of several."""
    network = marks.own_network(INSTALLATION, "d1", id_)
    if not kept:
        network = marks.environment_network(INSTALLATION, "e1", generation if generations else 0)
    own = {
        labels.ENVIRONMENT: "e1",
        labels.SERVICE: id_,
        labels.DEPLOYMENT: "d1",
        labels.GENERATION: str(generation),
        labels.NETWORK: network,
        labels.INPUTS: "x",
        marks.GENERATIONS: marks.generations_text(generations),
    }
    mount = {"Type": "volume", "Source": f"v-{volume}", "Target": "/data"}
    mount["VolumeOptions"] = {"Labels": {labels.VOLUME: volume, labels.GENERATION: "0"}}  # type: ignore[assignment]
    return {
        "ID": id_,
        "Spec": {
            "Name": f"stager-i1-d1-{id_}",
            "Labels": own,
            "Mode": {"Replicated": {"Replicas": replicas}},
            "EndpointSpec": {"Ports": [{"PublishedPort": port}] if port else []},
            "TaskTemplate": {
                "ContainerSpec": {"Mounts": [mount] if volume else []},
                "Networks": [{"Target": network}],
            },
        },
    }


def task(
    of: str = "s1",
    state: str = "running",
    node_id: str = "n1",
    *,
    desired: str = "running",
    code: int = 0,
    created: str = "2026-12-01T05:10:21.535968563Z",
    networks: tuple[str, ...] = (),
) -> Row:
    return {
        "ID": f"t-{of}-{created}",
        "ServiceID": of,
        "NodeID": node_id,
        "CreatedAt": created,
        "DesiredState": desired,
        "Status": {"State": state, "ContainerStatus": {"ContainerID": f"c-{of}", "ExitCode": code}},
        "NetworksAttachments": [{"Network": {"Spec": {"Name": name}}} for name in networks],
    }


def one(service_row: Row, *tasks: Row, at: Row | None = None) -> Observed:
    """The service with these tasks, on this node; on a ready one by default."""
    nodes = {each["ID"]: each for each in [at or node()]}
    [found] = observed([service_row], tasks, nodes, INSTALLATION)
    return found
