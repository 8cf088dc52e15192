"""All that people are told of an environment, read in one go, so that it is all of one moment."""

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
        serving: the deployment that visitors see; None while they see a page.
        note: the answer to what somebody asked for last.
        hitches: what handlers failed at, a sentence each; it cost the preview nothing.
    """

    environment: Environment
    deployment: Deployment | None = None
    serving: Deployment | None = None
    note: Note | None = None
    hitches: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """The environment's status."""
        return status_of(self.environment, self.deployment)


def picture_of(tx: Transaction, environment_id: str) -> ReportState | None:
    """The environment of this id as it is now; None when there is none."""
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
