"""Processes forges' deliveries, in order: reads each one and passes its event on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from stager.control.pull_requests.change_events import ChangeEvents, waiting_for_checks
from stager.control.pull_requests.comment_commands import CommentCommands
from stager.control.pull_requests.inbox import Deduplication, Processed
from stager.control.pull_requests.merge_queue import MergeQueue
from stager.domain.errors import Retry, StagerError
from stager.domain.pull_requests.events import (
    AccessGranted,
    ChangeAction,
    ChangeEvent,
    ChecksCompleted,
    CommentAdded,
    Delivery,
    Event,
    Ignored,
    MergeQueued,
    about_of,
)
from stager.ports.forge import Webhooks
from stager.ports.store import Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventConsumers:
    """What events are passed on to.

    Args:
        comment_commands: carries out comments.
        merge_queue: sets the status of a merge queue's commits.
        resync_soon: starts a comparison with the forge's open pull requests.
    """

    change_events: ChangeEvents
    comment_commands: CommentCommands
    merge_queue: MergeQueue
    resync_soon: Callable[[], None]


class WebhookConsumer:
    """Consumes the deliveries of the inbox.

    Args:
        webhooks: read deliveries, by the forge that they are recorded under.
    """

    def __init__(
        self,
        store: Store,
        webhooks: Mapping[str, Webhooks],
        consumers: EventConsumers,
        *,
        once: Deduplication,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._to = consumers
        self._once = once

    async def process(self, delivery: Delivery) -> Processed:
        """Process a delivery and return its outcome. A failure ends this delivery only."""
        about = ""
        try:
            event = self._read(delivery)
            about = about_of(event)
            return Processed(await self._handle(event), about)
        except Retry:
            raise  # The store failed: the delivery stays in the inbox.
        except StagerError as error:
            return Processed(f"{error.kind}: {error.message}", about)
        except Exception:
            log.exception("delivery_failed", delivery=delivery.id)
            return Processed("failed: a bug of Stager's, see its log", about)

    def _read(self, delivery: Delivery) -> Event:
        reader = self._webhooks.get(delivery.forge)
        return reader.read(delivery) if reader else Ignored(f"no forge {delivery.forge} is configured")

    async def _handle(self, event: Event) -> str:
        match event:
            case ChangeEvent():
                return await self._changed(event)
            case CommentAdded():
                return await self._to.comment_commands.run(event)
            case ChecksCompleted():
                return await self._checked(event)
            case MergeQueued():
                return await self._to.merge_queue.queued(event)
            case AccessGranted():
                self._to.resync_soon()
                return "compares the open pull requests with the previews"
            case Ignored(reason):
                return f"ignored: {reason}"

    async def _checked(self, event: ChecksCompleted) -> str:
        """Decide again about the changes that wait for the checks of this commit."""
        waiting = await self._store.read(lambda tx: waiting_for_checks(tx, event))
        for change in waiting:
            await self._to.change_events.apply(ChangeEvent(ChangeAction.EDITED, change))
        return f"{len(waiting)} waited for it" if waiting else "ignored: nothing waits for its checks"

    async def _changed(self, event: ChangeEvent) -> str:
        """Apply an event. A repeated reopening counts as a push: otherwise it would start again what somebody
        stopped since."""
        reopened = event.action is ChangeAction.REOPENED
        repeated = await self._once.repeated(event) if reopened else ""
        effective = replace(event, action=ChangeAction.SYNCHRONIZE) if repeated else event
        outcome = await self._to.change_events.apply(effective)
        if reopened:
            await self._store.write(lambda tx: self._once.remember(tx, event))
        return outcome
