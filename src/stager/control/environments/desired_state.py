"""Writes desired state, inside a transaction. Commands of people and events of forges both end here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from stager.control.environments.lookup import is_unapproved
from stager.control.environments.pins import Pin, save_pin
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
    """What a preview should run."""

    key: EnvironmentKey
    name: str
    revision: Revision = field(default_factory=Revision)
    parameters: Mapping[str, str] = field(default_factory=dict)
    trust: Trust = Trust.TRUSTED
    change: ChangeLink | None = None


def link_of(change: Change) -> ChangeLink:
    """What an environment stores about its pull request."""
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


def repeated(environment: Environment, parameters: Mapping[str, str]) -> PreviewRequest:
    """The last request for this environment, with other parameters.

    Raises:
        Refused: its code is from a fork and isn't approved.
    """
    suspension = environment.desired.suspension
    if suspension is not None and is_unapproved(environment):
        raise Refused(suspension.message, hint=suspension.hint, reason=suspension.reason.value, status=409)
    return PreviewRequest(
        environment.key,
        environment.name,
        # A manual launch takes the branch's newest commit, even if the environment was adopted with one.
        environment.desired.revision if environment.change else Revision(),
        parameters,
        environment.desired.trust,
        environment.change,
    )


class DesiredState:
    """Changes the desired state of environments."""

    def __init__(self, urls: Urls, clock: Clock, ids: Ids) -> None:
        self._urls = urls
        self._clock = clock
        self._ids = ids

    def request(self, tx: Transaction, request: PreviewRequest) -> Environment:
        """Request a new deployment; replaces earlier requests and suspensions."""
        now = self._clock.now()
        environment = self._next(tx, request, now)
        tx.save_environment(environment)
        tx.save_deployment(self._deployment(environment, now))
        return environment

    def suspend(self, tx: Transaction, request: PreviewRequest, suspension: Suspension) -> Environment:
        """Keep the environment, but run no instance of it."""
        before = tx.environment_by_key(request.key)
        environment = self._next(tx, request, self._clock.now())
        desired = environment.desired.suspended(suspension)
        if before is not None:
            desired = replace(desired, generation=before.desired.generation)
        suspended = replace(environment, desired=desired)
        tx.save_environment(suspended)
        return suspended

    def delete(self, tx: Transaction, environment: Environment) -> Environment:
        """Remove everything that belongs to the environment."""
        self.revoke_share_links(tx, environment)
        desired = environment.desired.absent()
        deleted = replace(environment, desired=desired, updated_at=self._clock.now())
        tx.save_environment(deleted)
        return deleted

    def pin(self, tx: Transaction, environment: Environment, *, pinned: bool) -> None:
        """Store that a preview is pinned, or was extended now."""
        save_pin(tx, environment.id, Pin(pinned=pinned, extended_at=self._clock.now()))

    def revoke_share_links(self, tx: Transaction, environment: Environment) -> None:
        """Revoke the share links of a preview that stops. They stay revoked if it comes back."""
        for link in tx.share_links(environment.id):
            if link.revoked_at is None:
                tx.save_share_link(replace(link, revoked_at=self._clock.now()))

    def _next(self, tx: Transaction, request: PreviewRequest, now: datetime) -> Environment:
        """The environment with the next generation, or a new one with the first."""
        before = tx.environment_by_key(request.key)
        return self._updated(tx, before, request, now) if before else self._new(tx, request, now)

    def _new(self, tx: Transaction, request: PreviewRequest, now: datetime) -> Environment:
        return Environment(
            id=self._ids.new(),
            key=request.key,
            name=request.name,
            host=self._urls.allot(tx, request.key, request.name, request.trust),
            desired=Desired(RunState.RUNNING, 1, request.revision, request.parameters, request.trust),
            created_at=now,
            updated_at=now,
            change=request.change,
        )

    def _updated(
        self, tx: Transaction, before: Environment, request: PreviewRequest, now: datetime
    ) -> Environment:
        """The next generation. It keeps the URL, unless another environment took that while this one was
        gone, or the configuration has changed how hosts are made since it last ran."""
        host = before.host
        if self._has_lost_its_host(tx, before):
            host = self._urls.allot(tx, request.key, request.name, request.trust)
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
        """An environment that serves keeps its host, even if the configuration would give it another one now:
        people have its URL."""
        if before.serving is not None:
            return False
        holder = tx.environment_by_host(before.host)
        is_taken = holder is not None and holder.id != before.id and holder.desired.is_present
        return is_taken or not self._urls.fits(before.host, before.key, before.name)

    def _deployment(self, environment: Environment, now: datetime) -> Deployment:
        desired = environment.desired
        return Deployment(
            id=self._ids.new(),
            environment_id=environment.id,
            revision=desired.revision,
            attempt=Attempt(desired.generation),
            created_at=now,
        )
