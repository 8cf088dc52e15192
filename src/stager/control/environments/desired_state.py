"""How what should be is changed, inside a transaction, for people and for forges alike.

Everything that asks for a preview, or for its end, comes down to one of these changing one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from stager.control.environments.lookup import is_unapproved
from stager.control.routing.urls import Urls
from stager.domain.deployment import Deployment
from stager.domain.environment import (
    Attempt,
    ChangeLink,
    Desired,
    Environment,
    EnvironmentKey,
    RunState,
    Suspension,
)
from stager.domain.errors import Refused
from stager.domain.source import Change, Revision, Trust
from stager.ports.clock import Clock, Ids
from stager.ports.store import Transaction


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """A preview as it is wished for."""

    key: EnvironmentKey
    name: str
    revision: Revision = field(default_factory=Revision)
    parameters: Mapping[str, str] = field(default_factory=dict)
    trust: Trust = Trust.TRUSTED
    change: ChangeLink | None = None


def link_of(change: Change) -> ChangeLink:
    """What an environment remembers of its pull request."""
    return ChangeLink(
        repository_id=change.repository.id,
        owner=change.repository.owner,
        repository=change.repository.name,
        number=change.number,
        base_ref=change.base_ref,
        title=change.title,
        author=change.author,
        url=change.url,
    )


def again(environment: Environment, parameters: Mapping[str, str]) -> PreviewRequest:
    """The wish that an environment stands for, with other parameters.

    Raises:
        Refused: it is strangers' code that nobody has let run.
    """
    suspension = environment.desired.suspension
    if suspension is not None and is_unapproved(environment):
        raise Refused(suspension.message, hint=suspension.hint, reason=suspension.reason.value, status=409)
    return PreviewRequest(
        environment.key,
        environment.name,
        # By hand, the branch counts as it is now, also after the environment was adopted with its commit.
        environment.desired.revision if environment.change else Revision(),
        parameters,
        environment.desired.trust,
        environment.change,
    )


class DesiredState:
    """Writes wishes down."""

    def __init__(self, addresses: Urls, clock: Clock, ids: Ids) -> None:
        self._addresses = addresses
        self._clock = clock
        self._ids = ids

    def run(self, tx: Transaction, request: PreviewRequest) -> Environment:
        """Have a new deployment of this environment, whatever was wished before."""
        now = self._clock.now()
        before = tx.environment_by_key(request.key)
        environment = self._renewed(tx, before, request, now) if before else self._new(tx, request, now)
        tx.save_environment(environment)
        tx.save_deployment(self._deployment(environment, now))
        return environment

    def suspend(self, tx: Transaction, request: PreviewRequest, suspension: Suspension) -> Environment:
        """Have the environment there, but nothing running in it."""
        now = self._clock.now()
        before = tx.environment_by_key(request.key)
        environment = self._renewed(tx, before, request, now) if before else self._new(tx, request, now)
        desired = environment.desired.suspended(suspension)
        if before is not None:
            desired = replace(desired, generation=before.desired.generation)
        held = replace(environment, desired=desired)
        tx.save_environment(held)
        return held

    def end(self, tx: Transaction, environment: Environment) -> Environment:
        """Have nothing of it any more."""
        self.withdraw_links(tx, environment)
        desired = environment.desired.absent()
        ended = replace(environment, desired=desired, updated_at=self._clock.now())
        tx.save_environment(ended)
        return ended

    def withdraw_links(self, tx: Transaction, environment: Environment) -> None:
        """Share links die with the preview that they were given out for, even if it comes back."""
        for link in tx.share_links(environment.id):
            if link.revoked_at is None:
                tx.save_share_link(replace(link, revoked_at=self._clock.now()))

    def _new(self, tx: Transaction, request: PreviewRequest, now: datetime) -> Environment:
        return Environment(
            id=self._ids.new(),
            key=request.key,
            name=request.name,
            host=self._addresses.allot(tx, request.key, request.name, request.trust),
            desired=Desired(RunState.RUNNING, 1, request.revision, request.parameters, request.trust),
            created_at=now,
            updated_at=now,
            change=request.change,
        )

    def _renewed(
        self, tx: Transaction, before: Environment, request: PreviewRequest, now: datetime
    ) -> Environment:
        """The next generation. Its URL is the one it had, unless another took that while it was gone, or the
        configuration gives previews other hosts since it last ran."""
        host = before.host
        if self._has_lost_its_host(tx, before):
            host = self._addresses.allot(tx, request.key, request.name, request.trust)
        generation = before.desired.generation + 1
        return replace(
            before,
            name=request.name,
            host=host,
            desired=Desired(
                RunState.RUNNING, generation, request.revision, request.parameters, request.trust
            ),
            updated_at=now,
            change=request.change,
        )

    def _has_lost_its_host(self, tx: Transaction, before: Environment) -> bool:
        """What is reachable keeps its host, whatever the configuration says by now: it is known by that."""
        if before.serving is not None:
            return False
        holder = tx.environment_by_host(before.host)
        is_anothers = holder is not None and holder.id != before.id and holder.desired.is_present
        return is_anothers or not self._addresses.fits(before.host, before.key, before.name)

    def _deployment(self, environment: Environment, now: datetime) -> Deployment:
        desired = environment.desired
        return Deployment(
            id=self._ids.new(),
            environment_id=environment.id,
            revision=desired.revision,
            attempt=Attempt(desired.generation),
            created_at=now,
        )
