"""What GitHub is asked and told: the state of pull requests, and the one comment on each."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, Retry
from stager.domain.source import Change, Repository
from stager.forges.github.api import problems
from stager.forges.github.api.credentials import Account
from stager.forges.github.api.request import GONE, doubt, names_of, names_of_link, retry_when_in_doubt
from stager.forges.github.api.rest import Rest
from stager.forges.github.webhooks import payloads, wire
from stager.ports.forge import Changes, Reports

REPOSITORY = "/repos/{owner}/{repo}"
PULL = "/repos/{owner}/{repo}/pulls/{number}"
PULLS = "/repos/{owner}/{repo}/pulls"
COMMENTS = "/repos/{owner}/{repo}/issues/{number}/comments"
COMMENT = "/repos/{owner}/{repo}/issues/comments/{comment}"


class GithubClient(Changes, Reports):
    """One account's view of pull requests.

    Args:
        rest: calls GitHub as this account.
    """

    def __init__(self, rest: Rest, account: Account) -> None:
        self._rest = rest
        self._account = account
        self._login: str | None = None
        self._turns: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def change(self, repository: Repository, number: int) -> Change | None:
        with retry_when_in_doubt(f"pull request {repository.full_name}#{number}"):
            try:
                pull = await self._rest.read(PULL, names_of(repository, number))
            except Refused as error:
                if error.status not in GONE:
                    raise
                # A token that lost its access sees 404 everywhere.
                await self._confirm(repository)
                return None
            return _checked(payloads.read_change(pull), repository, number)

    async def open_changes(self, repository: Repository) -> list[Change]:
        with retry_when_in_doubt(f"open pull requests of {repository.full_name}"):
            # Oldest first, so that one opened while the pages are read shifts none of the others.
            pulls = await self._rest.read_list(
                PULLS, names_of(repository), state="open", sort="created", direction="asc"
            )
            changes = [_checked(payloads.read_change(pull), repository) for pull in pulls]
            # One that moved to the next page while we were reading is there twice.
            return list({change.number: change for change in changes if change.is_open}.values())

    async def repository(self, owner: str, name: str) -> Repository | None:
        with retry_when_in_doubt(f"repository {owner}/{name}"):
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
        async with turn:  # Two at once would both find no comment, and make two.
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
        """Our comment, by its marker. By its author too where we know who we are, because anybody can write
        a marker."""
        own = await self._own_login()
        answers = await self._rest.read_list(COMMENTS, names_of_link(change))
        with retry_when_in_doubt(f"comments on {change.owner}/{change.repository}#{change.number}"):
            comments = [payloads.read_comment(answer) for answer in answers]
        ours = (c.id for c in comments if marker in c.body and (not own or c.author.lower() == own))
        return next(ours, None)

    async def _create(self, change: ChangeLink, marker: str, text: str) -> str:
        try:
            answer = await self._rest.create(COMMENTS, names_of_link(change), {"body": text})
            return payloads.read_comment(answer).id
        except (Retry, wire.Unreadable) as error:
            in_doubt = doubt(error, "the new comment")
        if in_doubt.reason not in problems.TRANSIENT:
            raise in_doubt
        # It may have been made although the answer was lost.
        found = await self._find(change, marker)
        if found is None:
            raise in_doubt
        return found

    async def _own_login(self) -> str:
        """Who we are, in lower case; empty where GitHub won't tell."""
        if self._login is None:
            try:
                own = await self._account.login()
                self._login = (own or payloads.read_login(await self._rest.read("/user", {}))).lower()
            except (Refused, wire.Unreadable) as error:
                if isinstance(error, Refused) and error.status == 401:
                    raise  # Nothing else will work either, and afterwards we want to ask again.
                self._login = ""
        return self._login


def _checked(change: Change, repository: Repository, number: int | None = None) -> Change:
    _same_repository(change.repository, repository)
    if number is not None and change.number != number:
        raise wire.Unreadable("number", f"is {change.number}, not {number}")
    return change


def _same_repository(found: Repository, asked: Repository) -> None:
    """The name may have been given to another repository meanwhile, which says nothing of the one meant."""
    if found.id != asked.id:
        raise wire.Unreadable("", f"{asked.full_name} is repository {found.id} now, not {asked.id}")
