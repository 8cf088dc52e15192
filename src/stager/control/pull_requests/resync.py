"""Compares the forge's open changes with the desired state: launches missing previews, and removes those of
closed changes.

A change that is missing from the list is requested by its number; only a closed change, or one that the forge
says doesn't exist, is removed. An incomplete list changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from stager.control.forges import Forges
from stager.control.pull_requests.change_events import ChangeEvents
from stager.control.pull_requests.repositories import application_of, remember
from stager.domain.application import Application, Applications
from stager.domain.errors import StagerError
from stager.domain.pull_requests.events import ChangeAction, ChangeEvent
from stager.domain.source import Change, Repository
from stager.ports.clock import Clock
from stager.ports.forge import Changes
from stager.ports.store import SeenRepository, Store, Transaction

log = structlog.get_logger(__name__)

REDELIVER = timedelta(days=3)
"""How far back failed deliveries are requested after a start; GitHub keeps them that long (docs: Redelivering
webhooks)."""


class Resync:
    """Applies the same events as deliveries would."""

    def __init__(
        self,
        store: Store,
        forges: Forges,
        applications: Applications,
        change_events: ChangeEvents,
        clock: Clock,
    ) -> None:
        self._store = store
        self._forges = forges
        self._start = clock.now() - REDELIVER
        self._since: dict[str, datetime] = {}
        self._applications = applications
        self._change_events = change_events
        self._clock = clock

    async def run(self) -> None:
        """Compare every repository once. One that the forge can't list now is skipped until the next run.
        No effect without a forge."""
        if not self._forges:
            return
        await self._redeliver()
        for repository in await self._repositories():
            try:
                await self._compare(repository)
            except StagerError as error:
                log.warning("resync_failed", repository=repository.full_name, reason=error.reason,
                            error=error.message)  # fmt: skip
            except Exception:
                log.exception("resync_failed", repository=repository.full_name)

    async def _redeliver(self) -> None:
        """Request the deliveries that failed since the last successful request, from each forge."""
        for forge in self._forges:
            now = self._clock.now()
            try:
                count = await forge.redelivery.redeliver(self._since.get(forge.name, self._start))
            except StagerError as error:
                log.warning("redelivery_failed", forge=forge.name, reason=error.reason, error=error.message)
                continue
            except Exception:
                log.exception("redelivery_failed", forge=forge.name)
                continue
            self._since[forge.name] = now
            if count:
                log.info("redelivered", forge=forge.name, deliveries=count)

    async def _repositories(self) -> list[Repository]:
        """The repositories of deliveries, of adopted previews, and of the configuration where it names an
        owner; also those without an application while they still have previews."""
        await self._look_up()
        return await self._store.read(self._ours)

    def _ours(self, tx: Transaction) -> list[Repository]:
        with_previews = {e.change.repository_id for e in tx.environments(present=True) if e.change}
        return [
            s.repository
            for s in _seen_repositories(tx)
            if s.repository.id in with_previews or application_of(tx, self._applications, s.repository)
        ]

    async def _look_up(self) -> None:
        """Look up configured repositories that no delivery came from under that name. The forge resolves the
        name of a renamed repository, until another one takes it."""
        seen = await self._store.read(_seen_repositories)
        for application in self._applications:
            if application.owner and not any(application.is_of(s.repository) for s in seen):
                await self._look_up_one(application)

    async def _look_up_one(self, application: Application) -> None:
        found = await self._named(application.owner, application.repository_name)
        if found is not None:
            called = Repository(found.id, application.owner, application.repository_name)
            await self._store.write(lambda tx: remember(tx, application, found, called))

    async def _named(self, owner: str, name: str) -> Repository | None:
        try:
            return await self._forges.repository(owner, name)
        except StagerError as error:
            log.warning("repository_lookup_failed", repository=f"{owner}/{name}", error=error.message)
            return None

    async def _compare(self, repository: Repository) -> None:
        forge = self._forges.of(repository.id)
        if forge is None:
            return
        listed = await forge.changes.open_changes(repository)
        for change in listed:
            await self._apply(ChangeEvent(ChangeAction.SYNCHRONIZE, change, confirmed=True))
        numbers = {change.number for change in listed}
        believed = await self._store.read(lambda tx: _believed_open(tx, repository))
        for change in believed:
            if change.number not in numbers:
                await self._check_missing(forge.changes, repository, change)

    async def _check_missing(self, changes: Changes, repository: Repository, believed: Change) -> None:
        """Ask the forge about a change that isn't in its list of open ones."""
        now = await changes.change(repository, believed.number)
        if now is None:
            # Forges use whole seconds: with a finer time, an event of this second would look older.
            stamp = max(believed.updated_at, self._clock.now().replace(microsecond=0))
            now = replace(believed, is_open=False, updated_at=stamp)
        action = ChangeAction.SYNCHRONIZE if now.is_open else ChangeAction.CLOSED
        await self._apply(ChangeEvent(action, now, confirmed=True))

    async def _apply(self, event: ChangeEvent) -> None:
        outcome = await self._change_events.apply(event)
        if not outcome.startswith(("nothing", "ignored")):
            log.info(
                "resync_healed",
                repository=event.change.repository.full_name,
                change=event.change.number,
                outcome=outcome,
            )


def _seen_repositories(tx: Transaction) -> list[SeenRepository]:
    seen = {r.repository.id: r for r in tx.repositories()}
    for environment in tx.environments(present=True):
        link = environment.change
        if link is not None and link.repository_id not in seen:
            repository = Repository(link.repository_id, link.owner, link.repository)
            seen[repository.id] = SeenRepository(environment.app, repository)
    return list(seen.values())


def _believed_open(tx: Transaction, repository: Repository) -> list[Change]:
    """The changes that are open as far as is recorded, including those of adopted previews."""
    believed = {change.number: change for change in tx.open_changes(repository.id)}
    for environment in tx.environments(present=True):
        link = environment.change
        if link is not None and link.repository_id == repository.id and link.number not in believed:
            believed[link.number] = Change(
                repository=repository,
                number=link.number,
                is_open=True,
                head_sha=environment.desired.revision.sha,
                head_ref=environment.name,
                head_repository=repository,
                base_ref=link.base_ref,
                title=link.title,
                author=link.author,
                url=link.url,
                updated_at=environment.created_at,
            )
    return list(believed.values())
