"""The local forge's implementation of the forge ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeEvent, Delivery, Event, Ignored
from stager.domain.source import Access, Change, Repository
from stager.forges.local import deliveries
from stager.forges.local.deliveries import FORGE, change_of, repository_of
from stager.forges.local.push_client import DELIVERY, REPOSITORY, signature
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
    Redelivery,
    Reports,
    Signed,
    Webhooks,
)
from stager.ports.source import Origin

NOTHING = "none"
"""The id of objects that this forge doesn't have: comments and deployments."""


class LocalForge(Webhooks, Changes, Reports, Origins, People, Announcements, Redelivery):
    """Bare repositories on this machine. There are no accounts: write access to the files is ownership.

    Args:
        repositories: their paths, by their names, which are those of their applications.
        home: returns the URL of Stager's pages, which is used as the URL of changes.
    """

    def __init__(self, repositories: Mapping[str, Path], home: Callable[[], str] = str) -> None:
        self._repositories = {name: LocalRepository(path) for name, path in repositories.items()}
        self._home = home
        self._secrets: dict[str, bytes] = {}

    async def open(self, server: str) -> None:
        """Create missing repositories, and install the hook in all of them.

        Args:
            server: Stager's URL for programs on this machine.

        Raises:
            Refused: one of them can't be used.
        """
        for name, repository in self._repositories.items():
            await repository.adopt()
            repository.introduce(name, server)
            self._secrets[name] = repository.secret

    @property
    def parts(self) -> Forge:
        """The implementation of each port."""
        return Forge(
            name=FORGE,
            changes=self,
            reports=self,
            origins=self,
            people=self,
            announcements=self,
            redelivery=self,
        )

    def expect(self, headers: Mapping[str, str]) -> Signed:
        """See `Webhooks.expect`."""
        return deliveries.SignedPush(self._secrets.get(headers.get(REPOSITORY, ""), b""), headers)

    async def receive(self, headers: Mapping[str, str], body: bytes) -> list[Delivery]:
        """See `Webhooks.receive`. The hook reports the pushed branches; their state is read from git."""
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
        return ChangeEvent(message.action, replace(change, head_before=message.change.before))

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
        """No effect: this forge has no comments."""
        return NOTHING

    async def uncomment(self, change: ChangeLink, *, marker: str, known: str) -> None:
        """No effect: this forge has no comments."""

    async def origin(self, repository: Repository, number: int | None) -> Origin:
        refs = () if number is None else (f"refs/pull/{number}/head",)
        return Origin(str(self._of(repository).path), refs)

    async def access(self, repository: Repository, login: str) -> Access:
        """The owner `local` has full access, everybody else none."""
        self._of(repository)
        return Access.ADMIN if login == FORGE else Access.NONE

    async def paths(self, repository: Repository, number: int) -> list[str]:
        found = self._of(repository)
        register = await found.changes()
        entry = next((entry for entry in register.changes if entry.number == number), None)
        return await found.paths(entry) if entry else []

    async def checks(self, repository: Repository, sha: str, ours: str) -> Checks:  # noqa: ARG002
        """None: this forge has no checks."""
        return "none"

    async def deployment(self, change: ChangeLink, announcement: Announcement, known: str) -> str:  # noqa: ARG002
        """No effect: this forge has no deployments."""
        return NOTHING

    async def status(self, change: ChangeLink, announcement: Announcement, context: str) -> None:
        """No effect: this forge has no commit statuses."""

    async def react(self, repository: Repository, comment: str, reaction: Reaction) -> None:
        """No effect: this forge has no comments."""

    async def redeliver(self, since: datetime) -> int:  # noqa: ARG002
        """No effect: failed deliveries aren't stored; the resync finds their changes."""
        return 0

    def limits(self) -> RateLimit | None:
        return None

    def _sharing(self, name: str) -> list[str]:
        """All names of a repository: one for each application that is built from it. The hook sends one of
        them."""
        found = self._repositories[name].path.resolve()
        return [one for one, other in self._repositories.items() if other.path.resolve() == found]

    def _of(self, repository: Repository) -> LocalRepository:
        found = self._repositories.get(repository.name)
        if found is None or repository.id != repository_of(repository.name).id:
            raise away(Path(repository.full_name), "it isn't configured")
        return found
