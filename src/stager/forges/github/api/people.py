"""Asks GitHub what somebody may do, which files a pull request touches, and what a commit's checks say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from stager.domain.errors import Refused
from stager.domain.source import Access, Repository
from stager.expiring_map import ExpiringMap
from stager.forges.github.api import answers
from stager.forges.github.api.request import GONE, names_of, retry_when_in_doubt
from stager.forges.github.api.rest import Rest
from stager.forges.github.webhooks import wire
from stager.ports.forge import Checks, People

PERMISSION = "/repos/{owner}/{repo}/collaborators/{login}/permission"
FILES = "/repos/{owner}/{repo}/pulls/{number}/files"
STATUS = "/repos/{owner}/{repo}/commits/{sha}/status"
CHECK_RUNS = "/repos/{owner}/{repo}/commits/{sha}/check-runs"

REMEMBERED = 60.0
"""Seconds that somebody may go on doing what he no longer may."""
MOST_REMEMBERED = 1_000

ACCESS = {
    "admin": Access.ADMIN,
    "maintain": Access.WRITE,
    "write": Access.WRITE,
    "triage": Access.READ,
    "read": Access.READ,
    "none": Access.NONE,
}
"""GitHub's words. `permission` knows four of them; an organisation may make up further roles, which only
`role_name` tells."""

PASSED = frozenset({"success", "neutral", "skipped"})
"""The conclusions that GitHub itself counts as passed (docs, "About status checks")."""


class GithubPeople(People):
    """What GitHub says of people and checks.

    Args:
        clock: seconds; never goes back.
    """

    def __init__(self, rest: Rest, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest = rest
        self._clock = clock
        self._known: ExpiringMap[tuple[str, str], Access, float] = ExpiringMap(clock, MOST_REMEMBERED)

    async def access(self, repository: Repository, login: str) -> Access:
        key = (repository.id, login.lower())
        known = self._known.get(key)
        if known is not None:
            return known
        asked_at = self._clock()
        access = await self._asked(repository, login)
        self._known.put(key, access, asked_at + REMEMBERED)
        return access

    async def paths(self, repository: Repository, number: int) -> list[str]:
        """See the port. Of a renamed file both names. GitHub tells no more than 3,000 files."""
        with retry_when_in_doubt(f"the files of {repository.full_name}#{number}"):
            files = await self._rest.read_list(FILES, names_of(repository, number))
            paths = [path for file in files for path in answers.read_file_paths(file)]
            return list(dict.fromkeys(paths))

    async def checks(self, repository: Repository, sha: str, ours: str) -> Checks:
        names = names_of(repository) | {"sha": sha}
        with retry_when_in_doubt(f"the checks of {repository.full_name}@{sha}"):
            statuses = await self._rest.read_list(STATUS, names, within="statuses")
            runs = await self._rest.read_list(CHECK_RUNS, names, within="check_runs", filter="latest")
            every = [*map(answers.read_status, statuses), *map(answers.read_check_run, runs)]
        outcomes = set(_outcomes(every, ours))
        worst: tuple[Checks, ...] = ("failure", "pending", "success")
        return next((outcome for outcome in worst if outcome in outcomes), "none")

    async def _asked(self, repository: Repository, login: str) -> Access:
        with retry_when_in_doubt(f"what {login} may do with {repository.full_name}"):
            try:
                answer = await self._rest.read(PERMISSION, names_of(repository) | {"login": login})
            except Refused as error:
                if error.status not in GONE:
                    raise
                return Access.NONE
            permission = answers.read_permission(answer)
            access = ACCESS.get(permission.permission) or ACCESS.get(permission.role)
            if access is None:
                raise wire.Unreadable("permission", f"is {permission.permission!r}")
            return access


def _outcomes(checks: list[answers.CheckState], ours: str) -> Iterator[Checks]:
    for check in checks:
        if check.name == ours:
            continue
        if not check.ended:
            yield "pending"
        else:
            yield "success" if check.outcome in PASSED else "failure"
