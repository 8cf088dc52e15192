"""Reads the manager's answers: a service with its newest task and that task's node become an instance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stager.domain.environment import Instance, InstanceState
from stager.domain.route import Endpoint
from stager.engines.docker import labels
from stager.engines.swarm import marks

ON_THE_WAY = frozenset(
    {"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"}
)
"""The states of a task before its container runs, see `api.TaskState` of swarmkit."""
RUNNING = "running"
REFUSED = "rejected"
UNKNOWN_CODE = 128
"""The exit code of a task that ended without a container's exit code."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """A service of this installation.

    Args:
        task: its newest task; None if it has none.
        node: the node of that task; None if it has none, or the node is no longer in the swarm.
        installation: the id of the installation.
    """

    service: Row
    task: Row | None
    node: Row | None
    installation: str

    @property
    def id(self) -> str:
        """The service's id, which is the instance's."""
        return str(self.service["ID"])

    @property
    def marks(self) -> Mapping[str, str]:
        """The service's labels."""
        found: Mapping[str, str] = self.service["Spec"].get("Labels") or {}
        return found

    @property
    def generations(self) -> frozenset[int]:
        """The generations that it is reached from."""
        return marks.generations_of(self.marks.get(marks.GENERATIONS, ""))

    @property
    def node_id(self) -> str:
        """The node of its newest task; empty if it was never placed."""
        return str((self.task or {}).get("NodeID") or "")

    @property
    def task_state(self) -> str:
        """Swarm's state of the newest task; empty if there is none."""
        return str(self.task["Status"]["State"]) if self.task else ""

    @property
    def container(self) -> str:
        """The container of its newest task; empty if there is none yet."""
        status = self.task["Status"] if self.task else {}
        return str((status.get("ContainerStatus") or {}).get("ContainerID") or "")

    @property
    def words(self) -> str:
        """What Swarm says about the newest task."""
        return str(self.task["Status"].get("Err") or "") if self.task else ""

    @property
    def is_running(self) -> bool:
        """Whether its container runs."""
        return self.task_state == RUNNING

    @property
    def is_wanted(self) -> bool:
        """Whether Swarm has been told to run it."""
        return bool((self.service["Spec"]["Mode"].get("Replicated") or {}).get("Replicas"))

    @property
    def is_on_the_way(self) -> bool:
        """Whether it was started, and its container doesn't run yet."""
        if self.task is None:
            return self.is_wanted
        return self.task_state in ON_THE_WAY and self.task["DesiredState"] in ("ready", RUNNING)

    @property
    def is_gone(self) -> bool:
        """Whether it can't go on: its node is lost, or took it no longer when it ended. Swarm doesn't move
        volumes, and it doesn't start a container again whose node is lost."""
        if not self.node_id:
            return False
        if self.node is None or self.node["Status"]["State"] == "down":
            return True
        has_ended = not self.is_running and not self.is_on_the_way
        return has_ended and not is_eligible(self.node, self.installation)

    @property
    def state(self) -> InstanceState:
        """The state of the instance."""
        if self.is_running:
            return InstanceState.RUNNING
        if self.task is None or self.is_on_the_way:
            return InstanceState.CREATED
        return InstanceState.STOPPED

    @property
    def exit_code(self) -> int:
        """The exit code of its last run; 0 if it never ran."""
        if self.task is None:
            return 0
        status = self.task["Status"].get("ContainerStatus") or {}
        code = int(status.get("ExitCode") or 0)
        return code or (0 if self.container or self.task_state == "complete" else UNKNOWN_CODE)

    @property
    def instance(self) -> Instance:
        """The instance, without `memory_exceeded`, which only the node's engine knows."""
        state, own = self.state, self.marks
        network = own[labels.NETWORK]
        # A kept service's own network isn't one of a generation; see `membership`.
        joined = {self.network_of(each) for each in self.generations} - {network}
        started = self.task["CreatedAt"] if self.task and state is not InstanceState.CREATED else ""
        return Instance(
            self.id,
            environment=own[labels.ENVIRONMENT],
            service=own[labels.SERVICE],
            deployment=own[labels.DEPLOYMENT],
            generation=int(own[labels.GENERATION]),
            state=state,
            started_at=started,
            exit_code=self.exit_code if state is InstanceState.STOPPED else None,
            endpoint=self._endpoint() if state is InstanceState.RUNNING else None,
            network=network,
            joined=frozenset(joined),
            inputs=own[labels.INPUTS],
            generations=self.generations,
        )

    def network_of(self, generation: int) -> str:
        """The name of the network of a generation of its environment."""
        return marks.environment_network(self.installation, self.marks[labels.ENVIRONMENT], generation)

    def _endpoint(self) -> Endpoint | None:
        if self.node is None:
            return None
        return Endpoint(address_of(self.node), published_port(self.service))


def observed(
    services: Iterable[Row], tasks: Iterable[Row], nodes: Mapping[str, Row], installation: str
) -> list[Observed]:
    """The services with their newest tasks."""
    newest: dict[str, Row] = {}
    for task in tasks:
        known = newest.get(task["ServiceID"])
        if known is None or _stamp(task) > _stamp(known):
            newest[task["ServiceID"]] = task
    found = []
    for service in services:
        last = newest.get(service["ID"])
        node = nodes.get(last.get("NodeID") or "") if last else None
        found.append(Observed(service, last, node, installation))
    return found


def _stamp(task: Row) -> str:
    """When a task was created, in a form that sorts: Docker omits final zeros (RFC 3339, 5.6)."""
    return str(task["CreatedAt"]).removesuffix("Z").ljust(30, "0")


def is_eligible(node: Row, installation: str) -> bool:
    """Whether a node takes instances of this installation."""
    spec = node["Spec"]
    return (
        node["Status"]["State"] == "ready"
        and spec.get("Availability") == "active"
        and (spec.get("Labels") or {}).get(marks.ready_label(installation)) == "yes"
    )


def address_of(node: Row) -> str:
    """The address of a node in the swarm. A manager may report `0.0.0.0` as its own."""
    address = str(node["Status"].get("Addr") or "")
    if address in ("", "0.0.0.0"):  # noqa: S104 (a comparison)
        return str((node.get("ManagerStatus") or {}).get("Addr") or "").rpartition(":")[0]
    return address


def published_port(service: Row) -> int:
    """The port of a service on its node; 0 if it has none."""
    ports = (service["Spec"].get("EndpointSpec") or {}).get("Ports") or ()
    return int(ports[0]["PublishedPort"]) if ports else 0
