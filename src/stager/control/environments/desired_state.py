"""Writes desired state, inside a transaction. Commands of people and events of forges both end here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stager.control.environments.lookup import is_unapproved
from stager.control.environments.pins import Pin, save_pin
from stager.control.environments.records import save_rollback_source
from stager.control.environments.visits import save_visits, visits_of
from stager.control.routing.urls import Urls, is_free
from stager.domain.attempt import Attempt
from stager.domain.deployment import Deployment
from stager.domain.environment import (
    ChangeLink,
    Depth,
    Desired,
    Environment,
    EnvironmentKey,
    RunState,
    Suspension,
)
from stager.domain.errors import Refused
from stager.domain.power import may_sleep
from stager.domain.pull_requests.events import LaunchPreview
from stager.domain.source import Change, Revision, Trust
from stager.ports.clock import Clock, Ids
from stager.ports.store import StateKind, Transaction


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


class DesiredState:
    """Changes the desired state of environments.

    Args:
        can_pause: see `ports.engine.Power.can_pause`.
    """

    def __init__(self, urls: Urls, clock: Clock, ids: Ids, *, can_pause: bool) -> None:
        self._urls = urls
        self._clock = clock
        self._ids = ids
        self._can_pause = can_pause

    def launch(
        self, tx: Transaction, key: EnvironmentKey, launch: LaunchPreview, change: Change | None = None
    ) -> Environment:
        """Request a new deployment; replaces earlier requests and suspensions.

        Args:
            change: the pull request whose head is deployed; None to deploy what has the preview's name.
        """
        return self._deploy(tx, self._next(tx, key, launch, change))

    def repeat(
        self, tx: Transaction, environment: Environment, parameters: Mapping[str, str] | None = None
    ) -> Environment:
        """Request a new deployment of the same.

        Args:
            parameters: replace those of the last request; None to keep them.

        Raises:
            Refused: the code is from a fork and isn't approved.
        """
        desired, suspension = environment.desired, environment.desired.suspension
        if suspension is not None and is_unapproved(environment):
            raise Refused(
                suspension.message, hint=suspension.hint, reason=suspension.reason.value, status=409
            )
        again = Desired(
            RunState.RUNNING,
            desired.generation + 1,
            # A manual launch takes the branch's newest commit, even if the environment was adopted with one.
            desired.revision if environment.change else Revision(),
            desired.parameters if parameters is None else parameters,
            desired.trust,
        )
        return self._deploy(tx, self._updated(tx, environment, environment.name, again))

    def roll_back(self, tx: Transaction, environment: Environment, source: Deployment) -> Environment:
        """Request a new deployment of what an earlier one deployed. The desired revision stays that of the
        pull request, so that only its next push replaces the earlier one."""
        again = replace(environment.desired.resumed(), generation=environment.desired.generation + 1)
        updated = self._updated(tx, environment, environment.name, again)
        rolled_back = self._deploy(tx, updated, source.revision)
        save_rollback_source(tx, rolled_back, source)
        return rolled_back

    def suspend(
        self,
        tx: Transaction,
        key: EnvironmentKey,
        launch: LaunchPreview,
        change: Change,
        suspension: Suspension,
    ) -> Environment:
        """Keep the environment of a pull request, but run no instance of it."""
        before = tx.environment_by_key(key)
        environment = self._next(tx, key, launch, change)
        desired = environment.desired.suspended(suspension)
        if before is not None:
            desired = replace(desired, generation=before.desired.generation)
        suspended = replace(environment, desired=desired)
        tx.save_environment(suspended)
        return suspended

    def expire(self, tx: Transaction, environment: Environment, suspension: Suspension) -> Environment:
        """Suspend an environment that wasn't used for long."""
        self.revoke_share_links(tx, environment)
        expired = replace(
            environment, desired=environment.desired.suspended(suspension), updated_at=self._clock.now()
        )
        tx.save_environment(expired)
        return expired

    def delete(self, tx: Transaction, environment: Environment) -> Environment:
        """Remove everything that belongs to the environment."""
        self.revoke_share_links(tx, environment)
        desired = environment.desired.absent()
        deleted = replace(environment, desired=desired, updated_at=self._clock.now())
        tx.save_environment(deleted)
        return deleted

    def pin(self, tx: Transaction, environment: Environment, *, pinned: bool) -> None:
        """Store that a preview is pinned, or was extended now. A warning that it will expire is void."""
        save_pin(tx, environment.id, Pin(pinned=pinned, extended_at=self._clock.now()))
        tx.save_environment_state(environment.id, StateKind.EXPIRY, "")

    def sleep(
        self,
        tx: Transaction,
        environment: Environment,
        depth: Depth = Depth.PAUSED,
        min_idle: float = 0.0,
        reason: str = "",
    ) -> Environment:
        """Request that a preview sleeps. One that is stopped asleep stays so.

        Args:
            depth: without effect on an engine that can't pause, where all that sleep are stopped.
            min_idle: see `Desired.min_idle`.
            reason: what is short, a sentence, if it sleeps for another preview.

        Raises:
            Refused: `not-at-rest`: it doesn't serve, or a deployment is in progress.
        """
        desired = environment.desired
        if not may_sleep(environment, tx.deployment_of(environment.id, desired.generation)):
            raise Refused(
                "Only a live preview that isn't being updated can sleep.",
                hint="Wait until it is live.",
                reason="not-at-rest",
                status=409,
            )
        if desired.is_asleep and depth in {desired.depth, Depth.PAUSED}:
            return environment
        depth = depth if self._can_pause else Depth.STOPPED
        asleep = replace(environment, desired=desired.asleep(depth, min_idle))
        tx.save_environment(asleep)
        if reason or not desired.is_asleep:
            tx.save_environment_state(environment.id, StateKind.SLEEP_REASON, reason)
        if not desired.is_asleep:
            save_visits(tx, environment.id, replace(visits_of(tx, environment.id), since=self._clock.now()))
        return asleep

    def wake(self, tx: Transaction, environment: Environment) -> Environment:
        """Request that a preview which sleeps runs again; no effect on another one."""
        if not environment.desired.is_asleep:
            return environment
        awake = replace(environment, desired=environment.desired.resumed())
        tx.save_environment(awake)
        save_visits(tx, environment.id, replace(visits_of(tx, environment.id), since=self._clock.now()))
        return awake

    def revoke_share_links(self, tx: Transaction, environment: Environment) -> None:
        """Revoke the share links of a preview that stops. They stay revoked if it comes back."""
        for link in tx.share_links(environment.id):
            if link.revoked_at is None:
                tx.save_share_link(replace(link, revoked_at=self._clock.now()))

    def _next(
        self, tx: Transaction, key: EnvironmentKey, launch: LaunchPreview, change: Change | None
    ) -> Environment:
        """The environment with the next generation, or a new one with the first."""
        before = tx.environment_by_key(key)
        desired = Desired(
            RunState.RUNNING,
            before.desired.generation + 1 if before else 1,
            Revision(change.head_sha, change.head_ref) if change else Revision(),
            launch.parameters,
            change.trust if change else Trust.TRUSTED,
        )
        name = launch.name or desired.revision.ref
        if before is None:
            environment = self._new(tx, key, name, desired)
        else:
            environment = self._updated(tx, before, name, desired)
        return replace(environment, change=link_of(change) if change else None)

    def _new(self, tx: Transaction, key: EnvironmentKey, name: str, desired: Desired) -> Environment:
        now = self._clock.now()
        host = self._urls.allot(tx, key, name, desired.trust)
        return Environment(self._ids.new(), key, name, host, desired, created_at=now, updated_at=now)

    def _updated(self, tx: Transaction, before: Environment, name: str, desired: Desired) -> Environment:
        """The environment with another desired state. It keeps the URL, unless another environment took that
        while this one was gone, or the configuration has changed how hosts are made since it last ran."""
        host = before.host
        if self._has_lost_its_host(tx, before):
            host = self._urls.allot(tx, before.key, name, desired.trust)
        return replace(before, name=name, host=host, desired=desired, updated_at=self._clock.now())

    def _has_lost_its_host(self, tx: Transaction, before: Environment) -> bool:
        """An environment that serves keeps its host, even if the configuration would give it another one now:
        people have its URL."""
        if before.serving is not None:
            return False
        is_kept = is_free(tx, before.host, before.key) and self._urls.fits(
            before.host, before.key, before.name
        )
        return not is_kept

    def _deploy(
        self, tx: Transaction, environment: Environment, revision: Revision | None = None
    ) -> Environment:
        """Store the environment, and a deployment for its generation.

        Args:
            revision: what is deployed; None for the desired revision.
        """
        desired = environment.desired
        tx.save_environment(environment)
        tx.save_deployment(
            Deployment(
                id=self._ids.new(),
                environment_id=environment.id,
                revision=revision or desired.revision,
                attempt=Attempt(desired.generation),
                created_at=environment.updated_at,
            )
        )
        return environment
