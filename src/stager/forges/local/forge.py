"""What the local forge is asked and told, over the ports that every forge has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeSeen, Delivery, Event, Ignored
from stager.domain.source import Access, Change, Repository
from stager.forges.local import deliveries
from stager.forges.local.deliveries import FORGE, change_of, repository_of
from stager.forges.local.pushed import DELIVERY, REPOSITORY, signature
from stager.forges.local.repository import LocalRepository, away
from stager.ports.forge import (
    Announcement,
    Announcements,
    Changes,
    Checks,
    Forge,
    Origins,
    People,
    RateLimit,
    Reaction,
    Recovery,
    Reports,
    Signed,
    Webhooks,
)
from stager.ports.source import Origin

NOTHING = "none"
"""The id of what this forge has no place for: comments and deployments."""


class LocalForge(Webhooks, Changes, Reports, Origins, People, Announcements, Recovery):
    """Bare repositories on this machine. There are no accounts: whoever may write to one is its owner.

    Args:
        repositories: their paths, by their names, which are those of their applications.
        home: gives the URL of Stager's own pages, where people look at a change.
    """

    def __init__(self, repositories: Mapping[str, Path], home: Callable[[], str] = str) -> None:
        self._repositories = {name: LocalRepository(path) for name, path in repositories.items()}
        self._home = home
        self._secrets: dict[str, bytes] = {}

    async def open(self, server: str) -> None:
        """Have every repository there, with a hook that finds us.

        Args:
            server: a URL at which Stager answers programs on this machine.

        Raises:
            Refused: one of them can't be used.
        """
        for name, repository in self._repositories.items():
            await repository.adopt()
            repository.introduce(name, server)
            self._secrets[name] = repository.secret

    @property
    def parts(self) -> Forge:
        """All of it, port by port."""
        return Forge(
            name=FORGE,
            changes=self,
            reports=self,
            origins=self,
            people=self,
            announcements=self,
            recovery=self,
        )

    def expect(self, headers: Mapping[str, str]) -> Signed:
        """See `Webhooks.expect`."""
        return deliveries.SignedPush(self._secrets.get(headers.get(REPOSITORY, ""), b""), headers)

    async def receive(self, headers: Mapping[str, str], body: bytes) -> list[Delivery]:
        """See `Webhooks.receive`. The hook tells which branches were pushed; git, what became of them."""
        if len(body) > deliveries.LARGEST_BODY:
            raise Refused("The delivery is larger than 1 MB.", reason="delivery-too-large", status=413)
        signed = self.expect(headers)
        signed.update(body)
        signed.check()
        name = headers.get(REPOSITORY, "")
        refs = deliveries.refs_of(body)
        delivery_id = headers.get(DELIVERY, "")[:100] or signature(b"", body)
        register = await self._repositories[name].changes()
        return [
            delivery
            for one in self._sharing(name)
            for delivery in deliveries.of_push(
                one, delivery_id if one == name else f"{delivery_id}-{one}", refs, register
            )
        ]

    def read(self, delivery: Delivery) -> Event:
        message = deliveries.read(delivery)
        if message is None:
            return Ignored("the push can't be read")
        change = change_of(message.repository, message.change, self._home())
        return ChangeSeen(message.action, replace(change, head_before=message.change.before))

    async def change(self, repository: Repository, number: int) -> Change | None:
        register = await self._of(repository).changes()
        entry = next((entry for entry in register.changes if entry.number == number), None)
        return change_of(repository.name, entry, self._home()) if entry else None

    async def open_changes(self, repository: Repository) -> list[Change]:
        register = await self._of(repository).changes()
        return [change_of(repository.name, e, self._home()) for e in register.changes if e.is_open]

    async def repository(self, owner: str, name: str) -> Repository | None:
        if owner.lower() != FORGE or name not in self._repositories:
            return None
        await self._repositories[name].changes()
        return repository_of(name)

    async def comment(self, change: ChangeLink, *, marker: str, body: str, known: str) -> str:  # noqa: ARG002
        """Nothing: there are no comments here."""
        return NOTHING

    async def uncomment(self, change: ChangeLink, *, marker: str, known: str) -> None:
        """Nothing: there are no comments here."""

    async def origin(self, repository: Repository, number: int | None) -> Origin:
        refs = () if number is None else (f"refs/pull/{number}/head",)
        return Origin(str(self._of(repository).path), refs)

    async def access(self, repository: Repository, login: str) -> Access:
        """The owner, `local`, may do everything, and there is nobody else."""
        self._of(repository)
        return Access.ADMIN if login == FORGE else Access.NONE

    async def paths(self, repository: Repository, number: int) -> list[str]:
        place = self._of(repository)
        register = await place.changes()
        entry = next((entry for entry in register.changes if entry.number == number), None)
        return await place.paths(entry) if entry else []

    async def checks(self, repository: Repository, sha: str, ours: str) -> Checks:  # noqa: ARG002
        """None: nothing checks commits here."""
        return "none"

    async def deployment(self, change: ChangeLink, announcement: Announcement, known: str) -> str:  # noqa: ARG002
        """Nothing: there are no deployments here."""
        return NOTHING

    async def status(self, change: ChangeLink, announcement: Announcement, context: str) -> None:
        """Nothing: commits bear no statuses here."""

    async def react(self, repository: Repository, comment: str, reaction: Reaction) -> None:
        """Nothing: there are no comments here."""

    async def redeliver(self, since: datetime) -> int:  # noqa: ARG002
        """Nothing is kept of what the hook couldn't tell: the resync finds it."""
        return 0

    def limits(self) -> RateLimit | None:
        return None

    def _sharing(self, name: str) -> list[str]:
        """The names that a repository has: of each application that is made of it. The hook knows one."""
        place = self._repositories[name].path.resolve()
        return [one for one, other in self._repositories.items() if other.path.resolve() == place]

    def _of(self, repository: Repository) -> LocalRepository:
        place = self._repositories.get(repository.name)
        if place is None or repository.id != repository_of(repository.name).id:
            raise away(Path(repository.full_name), "the configuration doesn't name it (any more)")
        return place
