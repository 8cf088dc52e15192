"""Pull requests at GitHub: their state, and Stager's comment on each."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, Retry
from stager.domain.source import Change, Repository
from stager.forges.github.api import problems
from stager.forges.github.api.credentials import GithubAccount
from stager.forges.github.api.request import GONE, doubt, names_of, names_of_link, retry_if_unknown
from stager.forges.github.api.rest import Rest
from stager.forges.github.webhooks import payloads, wire
from stager.ports.forge import Changes, Reports

REPOSITORY = "/repos/{owner}/{repo}"
PULL = "/repos/{owner}/{repo}/pulls/{number}"
PULLS = "/repos/{owner}/{repo}/pulls"
COMMENTS = "/repos/{owner}/{repo}/issues/{number}/comments"
COMMENT = "/repos/{owner}/{repo}/issues/comments/{comment}"


class GithubPullRequests(Changes, Reports):
    """Pull requests and comments.

    Args:
        rest: the client, with the account's credentials.
    """

    def __init__(self, rest: Rest, account: GithubAccount) -> None:
        self._rest = rest
        self._account = account
        self._login: str | None = None
        self._turns: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def change(self, repository: Repository, number: int) -> Change | None:
        with retry_if_unknown(f"pull request {repository.full_name}#{number}"):
            try:
                pull = await self._rest.read(PULL, names_of(repository, number))
            except Refused as error:
                if error.status not in GONE:
                    raise
                # For a token without access, everything is 404.
                await self._confirm(repository)
                return None
            return _checked(payloads.read_change(pull), repository, number)

    async def open_changes(self, repository: Repository) -> list[Change]:
        with retry_if_unknown(f"open pull requests of {repository.full_name}"):
            # Oldest first: a pull request that is opened meanwhile doesn't shift the pages.
            pulls = await self._rest.read_list(
                PULLS, names_of(repository), state="open", sort="created", direction="asc"
            )
            changes = [_checked(payloads.read_change(pull), repository) for pull in pulls]
            # A pull request that moved to the next page meanwhile is listed twice.
            return list({change.number: change for change in changes if change.is_open}.values())

    async def repository(self, owner: str, name: str) -> Repository | None:
        with retry_if_unknown(f"repository {owner}/{name}"):
            try:
                answer = await self._rest.read(REPOSITORY, {"owner": owner, "repo": name})
            except Refused as error:
                if error.status not in GONE:
                    raise
                return None
            return payloads.read_repository(answer)

    async def comment(self, change: ChangeLink, *, marker: str, body: str, known: str) -> str:
        text = body if marker in body else f"{body}\n\n{marker}"
        turn = self._turns.setdefault((change.repository_id, change.number), asyncio.Lock())
        async with turn:  # Concurrent calls would both find no comment and create two.
            if known and await self._edit(change, known, text):
                return known
            found = await self._find(change, marker)
            if found and await self._edit(change, found, text):
                return found
            return await self._create(change, marker, text)

    async def uncomment(self, change: ChangeLink, *, marker: str, known: str) -> None:
        turn = self._turns.setdefault((change.repository_id, change.number), asyncio.Lock())
        async with turn:
            if known and await self._delete(change, known):
                return
            found = await self._find(change, marker)
            if found:
                await self._delete(change, found)

    async def _confirm(self, repository: Repository) -> None:
        answer = payloads.read_repository(await self._rest.read(REPOSITORY, names_of(repository)))
        _same_repository(answer, repository)

    async def _edit(self, change: ChangeLink, comment: str, text: str) -> bool:
        try:
            await self._rest.edit(COMMENT, names_of_link(change) | {"comment": comment}, {"body": text})
        except Refused as error:
            if error.status not in GONE:
                raise
            return False
        return True

    async def _delete(self, change: ChangeLink, comment: str) -> bool:
        try:
            await self._rest.remove(COMMENT, names_of_link(change) | {"comment": comment})
        except Refused as error:
            if error.status not in GONE:
                raise
            return False
        return True

    async def _find(self, change: ChangeLink, marker: str) -> str | None:
        """The id of Stager's comment, found by its marker, and by its author where Stager's login is known:
        anybody can write a marker."""
        own = await self._own_login()
        answers = await self._rest.read_list(COMMENTS, names_of_link(change))
        with retry_if_unknown(f"comments on {change.owner}/{change.repository}#{change.number}"):
            comments = [payloads.read_comment(answer) for answer in answers]
        ours = (c.id for c in comments if marker in c.body and (not own or c.author.lower() == own))
        return next(ours, None)

    async def _create(self, change: ChangeLink, marker: str, text: str) -> str:
        try:
            answer = await self._rest.create(COMMENTS, names_of_link(change), {"body": text})
            return payloads.read_comment(answer).id
        except (Retry, wire.Unreadable) as error:
            unknown = doubt(error, "the new comment")
        if unknown.reason not in problems.TRANSIENT:
            raise unknown
        # It may have been created although the response was lost.
        found = await self._find(change, marker)
        if found is None:
            raise unknown
        return found

    async def _own_login(self) -> str:
        """Stager's login in lower case; empty where GitHub doesn't return it."""
        if self._login is None:
            try:
                own = await self._account.login()
                self._login = (own or payloads.read_login(await self._rest.read("/user", {}))).lower()
            except (Refused, wire.Unreadable) as error:
                if isinstance(error, Refused) and error.status == 401:
                    raise  # Everything else fails as well, and the login isn't cached.
                self._login = ""
        return self._login


def _checked(change: Change, repository: Repository, number: int | None = None) -> Change:
    _same_repository(change.repository, repository)
    if number is not None and change.number != number:
        raise wire.Unreadable("number", f"is {change.number}, not {number}")
    return change


def _same_repository(found: Repository, requested: Repository) -> None:
    """Raise if the name belongs to another repository by now."""
    if found.id != requested.id:
        raise wire.Unreadable("", f"{requested.full_name} is now repository {found.id}, not {requested.id}")
