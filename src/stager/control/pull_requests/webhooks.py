"""What forges tell: what each delivery amounts to. `inbox` keeps them, and gives them here one by one.

Every event is a hint. Where the forge can be asked, it is asked how the change stands now; where it can't,
the newest of what it has told counts. So lost, late and repeated deliveries do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from stager.control.applications import Application, Applications
from stager.control.environments.capacity import Capacity
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.commands import Wake
from stager.control.environments.desired_state import DesiredState, PreviewRequest, link_of
from stager.control.environments.lookup import previews_of
from stager.control.metrics import Metrics
from stager.control.plugins.invoker import Invoker
from stager.control.pull_requests.comment_commands import CommentCommands
from stager.control.pull_requests.deduplication import Once
from stager.control.pull_requests.forges import Forges
from stager.control.pull_requests.inbox import Inbox
from stager.control.pull_requests.merge_queue import MergeQueue
from stager.control.pull_requests.policy import FORKS_ARE_OFF, Policy, is_let_run
from stager.control.pull_requests.repositories import application_of, remember, why_not
from stager.domain.commands import Command, Kill, Launch
from stager.domain.environment import BY_POLICY, Environment, EnvironmentKey, Suspension, SuspensionReason
from stager.domain.errors import Retry, StagerError
from stager.domain.pull_requests.events import (
    ChangeAction,
    ChangeSeen,
    ChecksEnded,
    CommandSaid,
    Delivery,
    Ignored,
    MergeQueued,
)
from stager.domain.source import Change, Repository, Revision
from stager.ports.clock import Clock
from stager.ports.forge import Webhooks
from stager.ports.handlers import EventListener
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

PAUSE_AFTER_SILENCE = timedelta(seconds=60)
"""A forge that didn't answer isn't asked for so long, or each delivery would wait for it in vain."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """What an event amounts to.

    Args:
        suspension: why a launch may not run.
    """

    command: Command | None
    suspension: Suspension | None = None


class WebhookConsumer:
    """Takes in what forges tell.

    Args:
        webhooks: who reads deliveries, by the forge that they are recorded under.
        forges: those that can be asked how a change stands now.
        listeners: in the order of the configuration; the first that takes an event has it.
        wake: called with an environment's id after its wish was written down.
        policy: says which changes may not run.
        comment_commands: does what comments ask for.
        once: knows what was acted on.
        invoker: calls the listeners.
        room: keeps the number of previews within bounds.
        merge_queue: answers merge queues.
    """

    def __init__(
        self,
        *,
        store: Store,
        webhooks: Mapping[str, Webhooks],
        forges: Forges,
        listeners: Sequence[EventListener],
        applications: Applications,
        desired_state: DesiredState,
        policy: Policy,
        comment_commands: CommentCommands,
        once: Once,
        watch: ChangeFeed,
        wake: Wake,
        clock: Clock,
        metrics: Metrics,
        invoker: Invoker,
        room: Capacity,
        merge_queue: MergeQueue,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._forges = forges
        self._listeners = listeners
        self._applications = applications
        self._desired_state = desired_state
        self._policy = policy
        self._comment_commands = comment_commands
        self._once = once
        self._watch = watch
        self._wake = wake
        self._clock = clock
        self._invoker = invoker
        self._room = room
        self._inbox = Inbox(store, clock, metrics)
        self._merge_queue = merge_queue
        self._ask_again_at = datetime.min.replace(tzinfo=UTC)

    async def receive(self, delivery: Delivery) -> bool:
        """Record a verified delivery; on return it can't be lost. False when we had it already."""
        return await self._inbox.receive(delivery)

    async def run(self) -> None:
        """Process the deliveries until cancelled; those that an earlier life left over come first."""
        await self._inbox.run(self._handled)

    async def _handled(self, delivery: Delivery) -> str:
        """What became of it, in words. A delivery that trips us up is set aside, and stops no other."""
        try:
            return await self._read(delivery)
        except Retry:
            raise  # the store couldn't take it; it is still there when it can
        except StagerError as error:
            return f"{error.kind}: {error.message}"
        except Exception:
            log.exception("delivery_failed", delivery=delivery.id)
            return "failed: a bug of Stager's, see its log"

    async def _read(self, delivery: Delivery) -> str:
        reader = self._webhooks.get(delivery.forge)
        event = reader.read(delivery) if reader else Ignored(f"nobody here reads {delivery.forge}")
        match event:
            case ChangeSeen():
                return await self._changed(event)
            case CommandSaid():
                return await self._comment_commands.said(event)
            case ChecksEnded():
                return await self._checked(event)
            case MergeQueued():
                return await self._merge_queue.queued(event)
            case Ignored(reason):
                return f"ignored: {reason}"

    async def _checked(self, event: ChecksEnded) -> str:
        """The checks of a commit ended: whoever waited for them is decided on again."""
        waiting = await self._store.read(lambda tx: _waiting_for_checks(tx, event))
        for change in waiting:
            seen = ChangeSeen(ChangeAction.EDITED, change)
            await self.seen(await self._as_it_is_now(seen))
        return f"{len(waiting)} waited for it" if waiting else "ignored: nothing waits for its checks"

    async def _changed(self, event: ChangeSeen) -> str:
        """What comes of it. A reopening that was seen already is none: it would start again what was stopped
        by hand since."""
        reopened = event.action is ChangeAction.REOPENED
        repeated = await self._once.repeated(event) if reopened else ""
        told = replace(event, action=ChangeAction.SYNCHRONIZE) if repeated else event
        outcome = await self.seen(await self._as_it_is_now(told))
        if reopened:
            await self._store.write(lambda tx: self._once.remember(tx, event))
        return outcome

    async def _as_it_is_now(self, event: ChangeSeen) -> ChangeSeen:
        """The event with the change's present state, as far as the forge can be asked for it."""
        forge = self._forges.of(event.change.repository.id)
        if forge is None or not await self._is_ours(event):
            return event
        if self._clock.now() < self._ask_again_at:
            return event
        try:
            now = await forge.changes.change(event.change.repository, event.change.number)
        except StagerError as error:
            log.warning("change_not_asked", reason=error.reason, error=error.message)
            self._ask_again_at = self._clock.now() + PAUSE_AFTER_SILENCE
            return event
        if now is None or now.updated_at < event.change.updated_at:
            return event
        fresh = replace(now, head_before=event.change.head_before)
        return ChangeSeen(action_for(now, event.action), fresh, confirmed=True)

    async def seen(self, event: ChangeSeen) -> str:
        """Let the listeners decide on an event, and write down what it amounts to; what it was, in words."""
        if not await self._is_ours(event):
            return await self._not_ours(event.change.repository)
        application = await self._application(event)
        event = replace(event, app=application.name if application else await self._former(event))
        if await self._store.read(lambda tx: _is_stale(tx, event)):
            return "ignored: something newer is known of this change"
        decided = await self._decided(application, event)
        environments, outcome = await self._store.write(
            lambda tx: self._written(tx, application, event, decided)
        )
        for environment in environments:
            if environment.desired.should_run:
                await self._room.make(environment)
            self._watch.changed(environment.id)
            self._wake(environment.id)
        return outcome

    async def _is_ours(self, event: ChangeSeen) -> bool:
        """Whether an application is for its repository, or was when a preview of the change was made."""
        return await self._application(event) is not None or bool(await self._former(event))

    async def _former(self, event: ChangeSeen) -> str:
        """The application that a preview of this change was made for; empty when it has none."""
        change = event.change
        found = await self._store.read(lambda tx: previews_of(tx, change.repository, change.number))
        return found[0].app if found else ""

    async def _application(self, event: ChangeSeen) -> Application | None:
        repository = event.change.repository
        return await self._store.read(lambda tx: application_of(tx, self._applications, repository))

    async def _not_ours(self, repository: Repository) -> str:
        why = await self._store.read(lambda tx: why_not(tx, self._applications, repository))
        if why.startswith("refused"):
            log.warning("repository_refused", repository=repository.full_name, id=repository.id, why=why)
        return why

    async def _held(self, application: Application, event: ChangeSeen) -> Suspension | None:
        key = _key(application, event)
        before = await self._store.read(lambda tx: tx.environment_by_key(key))
        return await self._policy.suspension(application, event.change, before)

    async def _decided(self, application: Application | None, event: ChangeSeen) -> _Decided:
        command = await self._command(event)
        if application is None or not isinstance(command, Launch):
            return _Decided(command)
        return _Decided(command, await self._held(application, event))

    async def _command(self, event: ChangeSeen) -> Command | None:
        """What the first listener that takes the event asks for. One that fails or hangs is passed over."""
        for listener in self._listeners:
            try:
                command = await self._invoker.command(listener, event)
            except StagerError as error:
                log.warning("listener_passed_over", listener=type(listener).__name__, error=error.message)
                continue
            if command is not None:
                return command
        return None

    def _written(
        self, tx: Transaction, application: Application | None, event: ChangeSeen, decided: _Decided
    ) -> tuple[list[Environment], str]:
        """The environments that changed, and what the event was, in words. Removing goes by what was written
        down when they were made: without an application there is nothing else that can be done."""
        if _is_stale(tx, event):
            return [], "ignored: something newer is known of this change"
        if application is not None:
            remember(tx, application, event.change.repository)
        tx.save_change(event.change)
        match decided.command:
            case Launch() as launch if application is not None:
                environment, outcome = self._asked_for(tx, application, event, launch, decided.suspension)
                return [environment] if environment else [], outcome
            case Launch():
                return [], why_not(tx, self._applications, event.change.repository)
            case Kill():
                present = previews_of(tx, event.change.repository, event.change.number)
                ended = [self._desired_state.end(tx, environment) for environment in present]
                return ended, "removed" if ended else "ignored: there is nothing to remove"
            case _:
                return [], "ignored: no listener takes it"

    def _asked_for(
        self,
        tx: Transaction,
        application: Application,
        event: ChangeSeen,
        launch: Launch,
        suspension: Suspension | None,
    ) -> tuple[Environment | None, str]:
        key = _key(application, event)
        before = tx.environment_by_key(key)
        request = _request(key, launch.container_name, launch.parameters, event.change)
        return self._launched(tx, request, before, event, _still(suspension, before, event.change))

    def _launched(
        self,
        tx: Transaction,
        request: PreviewRequest,
        before: Environment | None,
        event: ChangeSeen,
        suspension: Suspension | None,
    ) -> tuple[Environment | None, str]:
        if before is not None and not _asks_for_more(before, event, suspension):
            return _with_link(tx, before, event.change), "nothing new"
        if suspension is not None:
            return self._desired_state.suspend(tx, request, suspension), f"refused: {suspension.reason.value}"
        return self._desired_state.run(tx, request), "launched"


def _still(suspension: Suspension | None, before: Environment | None, change: Change) -> Suspension | None:
    """The verdict, unless somebody has let this very commit run since it was asked for."""
    return None if suspension != FORKS_ARE_OFF and is_let_run(before, change) else suspension


def _request(key: EnvironmentKey, name: str, parameters: Mapping[str, str], change: Change) -> PreviewRequest:
    revision = Revision(change.head_sha, change.head_ref)
    return PreviewRequest(key, name, revision, parameters, change.trust, link_of(change))


def action_for(change: Change, told: ChangeAction) -> ChangeAction:
    """What to call an event about a change that stands so: what was told, unless that is out of date."""
    if not change.is_open:
        return ChangeAction.CLOSED
    return ChangeAction.SYNCHRONIZE if told is ChangeAction.CLOSED else told


def _key(application: Application, event: ChangeSeen) -> EnvironmentKey:
    return EnvironmentKey.of_change(application.name, event.change.repository.id, event.change.number)


def _asks_for_more(before: Environment, event: ChangeSeen, suspension: Suspension | None) -> bool:
    """Whether the event brings something that isn't wished for yet: a new head, one in another repository,
    a preview that is gone, or another opinion of policy. What was stopped by hand stays so until it is
    reopened."""
    desired, change = before.desired, event.change
    if not desired.is_present or (desired.revision.sha, desired.trust) != (change.head_sha, change.trust):
        return True
    by_hand = desired.suspension is not None and desired.suspension.reason not in BY_POLICY
    if by_hand:
        return event.action is ChangeAction.REOPENED
    return desired.suspension != suspension


def _with_link(tx: Transaction, before: Environment, change: Change) -> Environment | None:
    """The environment with what its change is called by now, if that is another; for reports to be right."""
    if before.change == link_of(change):
        return None
    renamed = replace(before, change=link_of(change))
    tx.save_environment(renamed)
    return renamed


def _waiting_for_checks(tx: Transaction, event: ChecksEnded) -> list[Change]:
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


def _is_stale(tx: Transaction, event: ChangeSeen) -> bool:
    """Whether something newer is known. What is closed can only be reopened: an `opened` or a push of the
    same second came before."""
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
