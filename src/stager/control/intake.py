"""What forges tell: deliveries are recorded at once and worked through in order, one by one.

Every event is a hint. Where the forge can be asked, it is asked how the change stands now; where it can't,
the newest of what it has told counts. So lost, late and repeated deliveries do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from stager.control.applications import Application, Applications
from stager.control.commands import Wake
from stager.control.metrics import Metrics
from stager.control.room import Room
from stager.control.runner import Runner
from stager.control.watch import Watch
from stager.control.wishes import Wish, Wishes, link_of
from stager.domain.commands import Command, Kill, Launch
from stager.domain.environment import Environment, EnvironmentKey, Hold, HoldReason
from stager.domain.errors import Retry, StagerError
from stager.domain.events import ChangeAction, ChangeSeen, Delivery, Ignored
from stager.domain.source import Change, Revision, Trust
from stager.ports.clock import Clock
from stager.ports.forge import Changes, Webhooks
from stager.ports.handlers import EventListener
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

PAUSE_AFTER_SILENCE = timedelta(seconds=60)
"""A forge that didn't answer isn't asked for so long, or each delivery would wait for it in vain."""


FORK_HOLD = Hold(
    HoldReason.FORK,
    "No preview: this pull request comes from a fork, so its code isn't run here.",
    "Someone with push access can push the branch to this repository.",
)


class Intake:
    """Takes in what forges tell.

    Args:
        changes: asks the forge; None where there are no credentials to ask it with.
        listeners: in the order of the configuration; the first that takes an event has it.
        wake: called with an environment's id after its wish was written down.
        runner: calls the listeners.
        room: keeps the number of previews within bounds; None where there are no bounds.
    """

    def __init__(
        self,
        *,
        store: Store,
        webhooks: Webhooks,
        changes: Changes | None,
        listeners: Sequence[EventListener],
        applications: Applications,
        wishes: Wishes,
        watch: Watch,
        wake: Wake,
        clock: Clock,
        metrics: Metrics,
        runner: Runner | None = None,
        room: Room | None = None,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._changes = changes
        self._listeners = listeners
        self._applications = applications
        self._wishes = wishes
        self._watch = watch
        self._wake = wake
        self._clock = clock
        self._metrics = metrics
        self._runner = runner or Runner(metrics)
        self._room = room
        self._arrived = asyncio.Event()
        self._ask_again_at = datetime.min.replace(tzinfo=UTC)

    async def receive(self, delivery: Delivery) -> bool:
        """Record a verified delivery; on return it can't be lost. False when we had it already."""
        now = self._clock.now()
        new = await self._store.write(lambda tx: tx.add_delivery(delivery, now))
        self._metrics.delivery("taken" if new else "repeated")
        log.info("delivery", forge=delivery.forge, delivery=delivery.id, kind=delivery.event, new=new)
        self._arrived.set()
        return new

    async def run(self) -> None:
        """Work through the deliveries, for ever; those that an earlier life left over come first."""
        while True:
            self._arrived.clear()
            delivery = await self._store.read(lambda tx: tx.next_delivery())
            if delivery is None:
                await self._arrived.wait()
                continue
            outcome = await self._handled(delivery)
            await self._store.write(
                lambda tx, d=delivery, o=outcome: tx.finish_delivery(d, o, self._clock.now())  # type: ignore[misc]
            )
            log.info("delivery_done", delivery=delivery.id, outcome=outcome)

    async def _handled(self, delivery: Delivery) -> str:
        """What became of it, in words. A delivery that trips us up is set aside, and stops no other."""
        try:
            event = self._webhooks.read(delivery)
            if isinstance(event, Ignored):
                return f"ignored: {event.reason}"
            if not isinstance(event, ChangeSeen):
                return f"ignored: nothing here takes a {type(event).__name__}"
            return await self.seen(await self._as_it_is_now(event))
        except Retry:
            raise  # the store couldn't take it; it is still there when it can
        except StagerError as error:
            return f"{error.kind}: {error.message}"
        except Exception:
            log.exception("delivery_failed", delivery=delivery.id)
            return "failed: a bug of Stager's, see its log"

    async def _as_it_is_now(self, event: ChangeSeen) -> ChangeSeen:
        """The event with the change's present state, as far as the forge can be asked for it."""
        if self._changes is None or self._applications.of_repository(event.change.repository) is None:
            return event
        if self._clock.now() < self._ask_again_at:
            return event
        try:
            now = await self._changes.change(event.change.repository, event.change.number)
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
        application = self._applications.of_repository(event.change.repository)
        if application is None:
            return f"ignored: no entry under images: is for {event.change.repository.full_name}"
        event = replace(event, app=application.name)
        if await self._store.read(lambda tx: _is_stale(tx, event)):
            return "ignored: something newer is known of this change"
        command = await self._decided(event)
        environment, outcome = await self._store.write(
            lambda tx: self._written(tx, application, event, command)
        )
        if environment is not None:
            if self._room and environment.desired.wanted:
                await self._room.make(environment)
            self._watch.changed(environment.id)
            self._wake(environment.id)
        return outcome

    async def _decided(self, event: ChangeSeen) -> Command | None:
        """What the first listener that takes the event asks for. One that fails or hangs is passed over."""
        for listener in self._listeners:
            try:
                command = await self._runner.command(listener, event)
            except StagerError as error:
                log.warning("listener_passed_over", listener=type(listener).__name__, error=error.message)
                continue
            if command is not None:
                return command
        return None

    def _written(
        self, tx: Transaction, application: Application, event: ChangeSeen, command: Command | None
    ) -> tuple[Environment | None, str]:
        if _is_stale(tx, event):
            return None, "ignored: something newer is known of this change"
        tx.save_repository(application.name, event.change.repository)
        tx.save_change(event.change)
        key = EnvironmentKey.of_change(application.name, event.change.repository.id, event.change.number)
        before = tx.environment_by_key(key)
        match command:
            case Launch():
                return self._launched(tx, key, before, event, command)
            case Kill() if before is not None and before.desired.present:
                return self._wishes.end(tx, before), "removed"
            case Kill():
                return None, "ignored: there is nothing to remove"
            case _:
                return None, "ignored: no listener takes it"

    def _launched(
        self,
        tx: Transaction,
        key: EnvironmentKey,
        before: Environment | None,
        event: ChangeSeen,
        command: Launch,
    ) -> tuple[Environment | None, str]:
        change = event.change
        wish = Wish(
            key,
            command.container_name,
            Revision(change.head_sha, change.head_ref),
            command.parameters,
            change.trust,
            link_of(change),
        )
        if before is not None and not _asks_for_more(before, event):
            return None, "nothing new"
        if change.trust is Trust.FORK:
            held = self._wishes.hold(tx, wish, FORK_HOLD)
            return held, "refused: fork"
        return self._wishes.run(tx, wish), "launched"


def action_for(change: Change, told: ChangeAction) -> ChangeAction:
    """What to call an event about a change that stands so: what was told, unless that is out of date."""
    if not change.is_open:
        return ChangeAction.CLOSED
    return ChangeAction.SYNCHRONIZE if told is ChangeAction.CLOSED else told


def _asks_for_more(before: Environment, event: ChangeSeen) -> bool:
    """Whether the event brings something that isn't wished for yet: a new head, one in another repository,
    or a preview that is gone."""
    desired, change = before.desired, event.change
    if not desired.present or (desired.revision.sha, desired.trust) != (change.head_sha, change.trust):
        return True
    return desired.hold is not None and event.action is ChangeAction.REOPENED


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
