"""Asks the forge what is open, and heals what was lost: previews that are missing, and those that outlived
their change.

Absence from the list removes nothing by itself: each missing change is asked for by its number, and only a
definite no, or one that is closed, goes. A list that couldn't be had whole changes nothing.
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
from stager.domain.pull_requests.events import ChangeAction, ChangeSeen
from stager.domain.source import Change, Repository
from stager.ports.clock import Clock
from stager.ports.forge import Changes
from stager.ports.store import SeenRepository, Store, Transaction

log = structlog.get_logger(__name__)

REDELIVER = timedelta(days=3)
"""How far back a start looks for deliveries that failed; GitHub keeps them so long (docs: Redelivering
webhooks)."""


class Resync:
    """Compares the forge's open changes with ours, both ways. It emits the events that deliveries would."""

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
        """Go over every repository once. One that can't be asked is left as it is, until the next time."""
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
        """Have each forge send again what it failed to deliver since the last time that it could be asked."""
        for forge in self._forges:
            now = self._clock.now()
            try:
                count = await forge.recovery.redeliver(self._since.get(forge.name, self._start))
            except StagerError as error:
                log.warning("not_redelivered", forge=forge.name, reason=error.reason, error=error.message)
                continue
            except Exception:
                log.exception("not_redelivered", forge=forge.name)
                continue
            self._since[forge.name] = now
            if count:
                log.info("redelivered", forge=forge.name, deliveries=count)

    async def _repositories(self) -> list[Repository]:
        """Those that deliveries came from, or adopted previews, and those that the configuration names an
        owner for; also those that are no application's any more, for as long as they have previews."""
        await self._look_up()
        return await self._store.read(self._ours)

    def _ours(self, tx: Transaction) -> list[Repository]:
        staged = {e.change.repository_id for e in tx.environments(present=True) if e.change}
        return [
            s.repository
            for s in _seen_repositories(tx)
            if s.repository.id in staged or application_of(tx, self._applications, s.repository)
        ]

    async def _look_up(self) -> None:
        """Find the repositories that the configuration names and nobody has told of, at least not by that
        name: it leads to what was renamed since, until it is given to another."""
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
            log.warning("repository_not_found", repository=f"{owner}/{name}", error=error.message)
            return None

    async def _compare(self, repository: Repository) -> None:
        forge = self._forges.of(repository.id)
        if forge is None:
            return
        listed = await forge.changes.open_changes(repository)
        for change in listed:
            await self._seen(ChangeSeen(ChangeAction.SYNCHRONIZE, change, confirmed=True))
        numbers = {change.number for change in listed}
        ours = await self._store.read(lambda tx: _believed_open(tx, repository))
        for change in ours:
            if change.number not in numbers:
                await self._look_closer(forge.changes, repository, change)

    async def _look_closer(self, changes: Changes, repository: Repository, believed: Change) -> None:
        """A change of ours isn't among the open ones: what does the forge say of it alone?"""
        now = await changes.change(repository, believed.number)
        if now is None:
            # Forges stamp whole seconds: by a finer stamp, what comes back in this second would be older.
            stamp = max(believed.updated_at, self._clock.now().replace(microsecond=0))
            now = replace(believed, is_open=False, updated_at=stamp)
        action = ChangeAction.SYNCHRONIZE if now.is_open else ChangeAction.CLOSED
        await self._seen(ChangeSeen(action, now, confirmed=True))

    async def _seen(self, event: ChangeSeen) -> None:
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
    """The changes that we take for open; also those of adopted previews, which no delivery told of since."""
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
