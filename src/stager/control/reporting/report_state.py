"""The state of an environment that reports show, read in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.plugins.lifecycle import notes_of
from stager.control.pull_requests.comment_commands import Note, note_of
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.status import Status, status_of
from stager.ports.store import Transaction


@dataclass(frozen=True, slots=True)
class ReportState:
    """An environment at one moment.

    Args:
        deployment: of the desired generation; None before its first step.
        serving: the deployment that visitors reach; None while they get a page of Stager's.
        note: the answer to the last comment command.
        handler_failures: one sentence each; they don't affect the preview.
    """

    environment: Environment
    deployment: Deployment | None = None
    serving: Deployment | None = None
    note: Note | None = None
    handler_failures: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """The environment's status."""
        return status_of(self.environment, self.deployment)


def report_state_of(tx: Transaction, environment_id: str) -> ReportState | None:
    """The current state of this environment; None when it doesn't exist."""
    environment = tx.environment(environment_id)
    if environment is None:
        return None
    generation, serving = environment.desired.generation, environment.serving
    return ReportState(
        environment,
        tx.deployment_of(environment_id, generation),
        tx.deployment_of(environment_id, serving) if serving is not None else None,
        note_of(tx, environment),
        notes_of(tx, environment_id, generation),
    )
