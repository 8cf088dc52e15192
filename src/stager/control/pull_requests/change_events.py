"""From events about changes to desired state.

Events are hints: where the forge can be asked, the change's current state decides; otherwise the newest
reported state. Lost, late and repeated deliveries therefore do no harm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from stager.control.environments.desired_state import DesiredState, link_of
from stager.control.environments.records import previews_of
from stager.control.forges import Forges
from stager.control.plugins.lifecycle import add_notes
from stager.control.pull_requests.policy import ListenerDecision, Listeners, Policy
from stager.control.pull_requests.repositories import application_of, remember, why_not
from stager.domain.application import Application, Applications
from stager.domain.environment import BY_POLICY, Environment, EnvironmentKey, Suspension, SuspensionReason
from stager.domain.errors import StagerError
from stager.domain.pull_requests.events import (
    ChangeAction,
    ChangeEvent,
    ChecksCompleted,
    LaunchPreview,
    RemovePreview,
    Skip,
)
from stager.domain.pull_requests.rules import FORKS_ARE_OFF, is_approved
from stager.domain.source import Change, Repository
from stager.ports.clock import Clock
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

STALE = "ignored: something newer is known of this change"
PAUSE_AFTER_FAILURE = timedelta(seconds=60)
"""No requests for current state after a failed one. Otherwise each delivery would wait for a forge that is
down."""

Changed = Callable[[Environment], Awaitable[None]]
"""Called with each environment whose desired state changed, after the transaction."""


class ChangeEvents:
    """Applies events about changes.

    Args:
        current: refreshes events that the forge didn't confirm.
        changed: called with each environment whose desired state changed.
    """

    def __init__(
        self,
        store: Store,
        applications: Applications,
        desired_state: DesiredState,
        policy: Policy,
        listeners: Listeners,
        *,
        current: CurrentChanges,
        changed: Changed,
    ) -> None:
        self._store = store
        self._applications = applications
        self._desired_state = desired_state
        self._policy = policy
        self._listeners = listeners
        self._current = current
        self._changed = changed

    async def apply(self, event: ChangeEvent) -> str:
        """Let the listeners decide about an event, and write the desired state. Returns the outcome."""
        application, name = await self._application(event)
        if name and not event.confirmed:
            event = await self._current.refresh(event)
            application, name = await self._application(event)
        if not name:
            return await self._not_ours(event.change.repository)
        event = replace(event, app=name)
        if await self._store.read(lambda tx: _is_stale(tx, event)):
            return STALE
        decided = await self._decided(application, event)
        environments, outcome = await self._store.write(
            lambda tx: self._write(tx, application, event, decided)
        )
        for environment in environments:
            await self._changed(environment)
        return "; ".join((outcome, *decided.failures))

    async def _application(self, event: ChangeEvent) -> tuple[Application | None, str]:
        """The application of the change's repository, and its name: that of the application that a preview
        of the change was made for, if there is none now; empty if there never was."""
        change = event.change

        def read(tx: Transaction) -> tuple[Application | None, str]:
            application = application_of(tx, self._applications, change.repository)
            if application is not None:
                return application, application.name
            previews = previews_of(tx, change.repository, change.number)
            return None, previews[0].app if previews else ""

        return await self._store.read(read)

    async def _not_ours(self, repository: Repository) -> str:
        why = await self._store.read(lambda tx: why_not(tx, self._applications, repository))
        if why.startswith("refused"):
            log.warning("repository_refused", repository=repository.full_name, id=repository.id, why=why)
        return why

    async def _decided(self, application: Application | None, event: ChangeEvent) -> ListenerDecision:
        decided = await self._listeners.decide(event)
        launches = isinstance(decided.decision, LaunchPreview | Skip) and not _skips_close(decided, event)
        if application is None or not launches:
            return decided
        key = _key(application, event)
        before = await self._store.read(lambda tx: tx.environment_by_key(key))
        suspension = await self._policy.suspension(application, event.change, before, decided.skip)
        return replace(decided, suspension=suspension)

    def _write(
        self, tx: Transaction, application: Application | None, event: ChangeEvent, decided: ListenerDecision
    ) -> tuple[list[Environment], str]:
        """Write the desired state. Returns the environments that changed, and the outcome."""
        if _is_stale(tx, event):
            return [], STALE
        if application is not None:
            remember(tx, application, event.change.repository)
        tx.save_change(event.change)
        changed, outcome = self._carry_out(tx, application, event, decided)
        present = previews_of(tx, event.change.repository, event.change.number)
        noted = [one for one in present if add_notes(tx, one, decided.failures)]
        known = {environment.id for environment in changed}
        return [*changed, *(one for one in noted if one.id not in known)], outcome

    def _carry_out(
        self, tx: Transaction, application: Application | None, event: ChangeEvent, decided: ListenerDecision
    ) -> tuple[list[Environment], str]:
        """Without an application, removing is all that can be done; it goes by what was stored when the
        previews were made."""
        decision = decided.decision
        if decision is None:
            return [], "ignored: no listener takes it"
        if isinstance(decision, RemovePreview):
            present = previews_of(tx, event.change.repository, event.change.number)
            removed = [self._desired_state.delete(tx, environment) for environment in present]
            return removed, "removed" if removed else "ignored: there is nothing to remove"
        if _skips_close(decided, event):
            return [], f"ignored: skipped by {decided.listener}: {decided.reason}"
        if application is None:
            return [], why_not(tx, self._applications, event.change.repository)
        return self._launch(tx, application, event, decided, decision)

    def _launch(
        self,
        tx: Transaction,
        application: Application,
        event: ChangeEvent,
        decided: ListenerDecision,
        decision: LaunchPreview | Skip,
    ) -> tuple[list[Environment], str]:
        key, change = _key(application, event), event.change
        before = tx.environment_by_key(key)
        suspension = _unless_let_run(decided.suspension, before, change)
        if before is not None and not _asks_for_more(before, event, suspension):
            renamed = _with_link(tx, before, change)
            return [renamed] if renamed else [], "nothing new"
        launch = decision if isinstance(decision, LaunchPreview) else _unchanged(before)
        if suspension is None:
            return [self._desired_state.launch(tx, key, launch, change)], "launched"
        held = self._desired_state.suspend(tx, key, launch, change, suspension)
        if suspension == decided.skip:
            return [held], f"skipped by {decided.listener}: {decided.reason}"
        return [held], f"refused: {suspension.reason.value}"


def _skips_close(decided: ListenerDecision, event: ChangeEvent) -> bool:
    """Whether a listener wants nothing done about a change that was closed."""
    return event.action is ChangeAction.CLOSED and isinstance(decided.decision, Skip)


def _unless_let_run(
    suspension: Suspension | None, before: Environment | None, change: Change
) -> Suspension | None:
    """The suspension, unless somebody has let this commit run since it was decided on."""
    return None if suspension != FORKS_ARE_OFF and is_approved(before, change) else suspension


def _unchanged(before: Environment | None) -> LaunchPreview:
    """A launch with the name and parameters that the preview has."""
    return LaunchPreview(before.name, before.desired.parameters) if before else LaunchPreview()


def _key(application: Application, event: ChangeEvent) -> EnvironmentKey:
    return EnvironmentKey.of_change(application.name, event.change.repository.id, event.change.number)


def _asks_for_more(before: Environment, event: ChangeEvent, suspension: Suspension | None) -> bool:
    """Whether the event differs from the desired state: a new head, a head in another repository, a removed
    preview, or another decision of policy. A preview that somebody stopped stays stopped until the change is
    reopened."""
    desired, change = before.desired, event.change
    if not desired.is_present or (desired.revision.sha, desired.trust) != (change.head_sha, change.trust):
        return True
    if desired.is_queued:
        return suspension is not None
    if desired.suspension is not None and desired.suspension.reason not in BY_POLICY:
        return event.action is ChangeAction.REOPENED
    return desired.suspension != suspension


def _with_link(tx: Transaction, before: Environment, change: Change) -> Environment | None:
    """Store the change's current title and names, for reports; None when they are the same."""
    if before.change == link_of(change):
        return None
    renamed = replace(before, change=link_of(change))
    tx.save_environment(renamed)
    return renamed


def waiting_for_checks(tx: Transaction, event: ChecksCompleted) -> list[Change]:
    """The open changes whose preview waits for the checks of this commit."""
    waiting = (
        environment
        for environment in tx.environments(present=True)
        if environment.change
        and environment.change.repository_id == event.repository.id
        and environment.desired.revision.sha == event.sha
        and environment.desired.suspension is not None
        and environment.desired.suspension.reason in (SuspensionReason.CHECKS, SuspensionReason.RULES)
    )
    changes = (tx.change(event.repository.id, e.change.number) for e in waiting if e.change)
    return [change for change in changes if change is not None and change.is_open]


def _is_stale(tx: Transaction, event: ChangeEvent) -> bool:
    """Whether something newer is known. A closed change can only be reopened: an `opened` or a push of the
    same second happened before."""
    change = event.change
    known = tx.change(change.repository.id, change.number)
    if known is None:
        return False
    if event.confirmed:
        return change.updated_at < known.updated_at
    if change.is_older_than(known):
        return True
    overtaken = change.is_open and not known.is_open and event.action is not ChangeAction.REOPENED
    return overtaken and change.updated_at == known.updated_at


class CurrentChanges:
    """Replaces the state that an event carries with the forge's current one."""

    def __init__(self, forges: Forges, clock: Clock) -> None:
        self._forges = forges
        self._clock = clock
        self._paused_until = datetime.min.replace(tzinfo=UTC)

    async def refresh(self, event: ChangeEvent) -> ChangeEvent:
        """The event with the change's current state; unchanged where the forge can't be asked."""
        forge = self._forges.of(event.change.repository.id)
        if forge is None or self._clock.now() < self._paused_until:
            return event
        try:
            current = await forge.changes.change(event.change.repository, event.change.number)
        except StagerError as error:
            log.warning("change_refresh_failed", reason=error.reason, error=error.message)
            self._paused_until = self._clock.now() + PAUSE_AFTER_FAILURE
            return event
        if current is None or current.updated_at < event.change.updated_at:
            return event
        fresh = replace(current, head_before=event.change.head_before)
        return ChangeEvent(action_for(current, event.action), fresh, confirmed=True)


def action_for(change: Change, reported: ChangeAction) -> ChangeAction:
    """The action of an event about a change in this state: the reported one, unless it is out of date."""
    if not change.is_open:
        return ChangeAction.CLOSED
    return ChangeAction.SYNCHRONIZE if reported is ChangeAction.CLOSED else reported
