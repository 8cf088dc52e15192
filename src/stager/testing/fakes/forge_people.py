"""The fake forge's permissions, changed files and checks."""

from __future__ import annotations

from stager.domain.pull_requests.events import ChangeEvent, ChecksCompleted
from stager.domain.source import Access, Repository
from stager.ports.forge import Checks
from stager.testing.fakes.faults import Faulty


class FakePeople(Faulty):
    """See `stager.ports.forge.People`. Users without permissions have `Access.NONE`."""

    def __init__(self) -> None:
        super().__init__()
        self._allowed: dict[tuple[str, str], Access] = {}
        self._paths: dict[tuple[str, int], list[str]] = {}
        self._checks: dict[tuple[str, str], dict[str, Checks]] = {}

    # Called by tests.

    def allow(self, repository: Repository, login: str, access: Access) -> None:
        """Set a user's access to the repository. Logins are case-insensitive."""
        self._allowed[repository.id, login.lower()] = access

    def touch(self, event: ChangeEvent, *paths: str) -> None:
        """Set the files that the change touches."""
        self._paths[event.change.repository.id, event.change.number] = list(paths)

    def check(
        self, repository: Repository, sha: str, outcome: Checks = "success", *, context: str = "ci"
    ) -> ChecksCompleted:
        """Set the outcome of one of the commit's checks. Returns the event of its end."""
        self._checks.setdefault((repository.id, sha), {})[context] = outcome
        return ChecksCompleted(repository, sha)

    # The ports.

    async def access(self, repository: Repository, login: str) -> Access:
        await self._turn()
        return self._allowed.get((repository.id, login.lower()), Access.NONE)

    async def paths(self, repository: Repository, number: int) -> list[str]:
        await self._turn(lists=True)
        return list(self._paths.get((repository.id, number), []))

    async def checks(self, repository: Repository, sha: str, ours: str) -> Checks:
        await self._turn(lists=True)
        every = self._checks.get((repository.id, sha), {})
        outcomes = {outcome for context, outcome in every.items() if context != ours}
        worst: tuple[Checks, ...] = ("failure", "pending", "success")
        return next((outcome for outcome in worst if outcome in outcomes), "none")
