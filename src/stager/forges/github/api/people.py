"""Permissions of people, files of pull requests, and checks of commits, from GitHub."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from stager.domain.errors import Refused
from stager.domain.source import Access, Repository
from stager.expiring_map import ExpiringMap
from stager.forges.github.api import responses
from stager.forges.github.api.request import GONE, names_of, retry_if_unknown
from stager.forges.github.api.rest import Rest
from stager.forges.github.webhooks import wire
from stager.ports.forge import Checks, People

PERMISSION = "/repos/{owner}/{repo}/collaborators/{login}/permission"
FILES = "/repos/{owner}/{repo}/pulls/{number}/files"
STATUS = "/repos/{owner}/{repo}/commits/{sha}/status"
CHECK_RUNS = "/repos/{owner}/{repo}/commits/{sha}/check-runs"

REMEMBERED = 60.0
"""Seconds for which a permission is cached; a revoked one remains valid for that long."""
MOST_REMEMBERED = 1_000

ACCESS = {
    "admin": Access.ADMIN,
    "maintain": Access.WRITE,
    "write": Access.WRITE,
    "triage": Access.READ,
    "read": Access.READ,
    "none": Access.NONE,
}
"""GitHub's terms. `permission` has four of them; `role_name` has all, and the custom roles of an
organisation."""

PASSED = frozenset({"success", "neutral", "skipped"})
"""The conclusions that GitHub itself counts as passed (docs, "About status checks")."""


class GithubPeople(People):
    """Queries about people and checks.

    Args:
        clock: monotonic seconds.
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
        access = await self._query(repository, login)
        self._known.put(key, access, asked_at + REMEMBERED)
        return access

    async def paths(self, repository: Repository, number: int) -> list[str]:
        """See the port. Includes both names of a renamed file. GitHub lists at most 3,000 files."""
        with retry_if_unknown(f"the files of {repository.full_name}#{number}"):
            files = await self._rest.read_list(FILES, names_of(repository, number))
            paths = [path for file in files for path in responses.read_file_paths(file)]
            return list(dict.fromkeys(paths))

    async def checks(self, repository: Repository, sha: str, ours: str) -> Checks:
        names = names_of(repository) | {"sha": sha}
        with retry_if_unknown(f"the checks of {repository.full_name}@{sha}"):
            statuses = await self._rest.read_list(STATUS, names, within="statuses")
            runs = await self._rest.read_list(CHECK_RUNS, names, within="check_runs", filter="latest")
            every = [*map(responses.read_status, statuses), *map(responses.read_check_run, runs)]
        outcomes = set(_outcomes(every, ours))
        worst: tuple[Checks, ...] = ("failure", "pending", "success")
        return next((outcome for outcome in worst if outcome in outcomes), "none")

    async def _query(self, repository: Repository, login: str) -> Access:
        with retry_if_unknown(f"the permission of {login} for {repository.full_name}"):
            try:
                answer = await self._rest.read(PERMISSION, names_of(repository) | {"login": login})
            except Refused as error:
                if error.status not in GONE:
                    raise
                return Access.NONE
            permission = responses.read_permission(answer)
            access = ACCESS.get(permission.permission) or ACCESS.get(permission.role)
            if access is None:
                raise wire.Unreadable("permission", f"is {permission.permission!r}")
            return access


def _outcomes(checks: list[responses.CheckState], ours: str) -> Iterator[Checks]:
    for check in checks:
        if check.name == ours:
            continue
        if not check.ended:
            yield "pending"
        else:
            yield "success" if check.outcome in PASSED else "failure"
