"""Deployments, commit statuses and reactions at GitHub.

All calls are idempotent: existing objects are found again, and an unchanged state isn't sent again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from weakref import WeakValueDictionary

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused
from stager.domain.source import Repository
from stager.forges.github.api import problems, responses
from stager.forges.github.api.request import GONE, names_of, names_of_link
from stager.forges.github.api.rest import Rest
from stager.forges.github.webhooks import wire
from stager.ports.forge import Announcement, Announcements, Progress, Reaction

DEPLOYMENTS = "/repos/{owner}/{repo}/deployments"
DEPLOYMENT_STATUSES = "/repos/{owner}/{repo}/deployments/{deployment}/statuses"
STATUSES = "/repos/{owner}/{repo}/statuses/{sha}"
REACTIONS = "/repos/{owner}/{repo}/issues/comments/{comment}/reactions"

LONGEST_DESCRIPTION = 140
"""Characters (REST API, "Create a deployment status")."""
MOST_REMEMBERED = 4_000
"""Deployments and commits whose last state is cached."""

DEPLOYMENT_STATES = {
    Progress.WAITING: "queued",
    Progress.QUEUED: "queued",
    Progress.IN_PROGRESS: "in_progress",
    Progress.SUCCESS: "success",
    Progress.FAILURE: "failure",
    Progress.INACTIVE: "inactive",
}
COMMIT_STATES = {
    Progress.WAITING: "pending",
    Progress.QUEUED: "pending",
    Progress.IN_PROGRESS: "pending",
    Progress.SUCCESS: "success",
    Progress.FAILURE: "failure",
}
"""A removed preview doesn't change its commit's status."""


class GithubAnnouncements(Announcements):
    """Deployments, statuses and reactions of one account."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._last: OrderedDict[tuple[str, ...], Announcement] = OrderedDict()
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def deployment(self, change: ChangeLink, announcement: Announcement, known: str) -> str:
        """See the port. Returns GitHub's id and the commit, as `ID:SHA`."""
        turn = self._turns.setdefault((change.repository_id, announcement.environment), asyncio.Lock())
        async with turn:  # Concurrent calls would both find no deployment and create two.
            number, _, sha = known.partition(":")
            if known and sha == announcement.sha and await self._update(change, number, announcement):
                return known
            number = await self._replace_deployment(
                change, announcement, "" if sha == announcement.sha else number
            )
            return f"{number}:{announcement.sha}" if number else ""

    async def status(self, change: ChangeLink, announcement: Announcement, context: str) -> None:
        state = COMMIT_STATES.get(announcement.progress)
        key = (change.repository_id, announcement.sha, context)
        if state is None or self._last.get(key) == announcement:
            return
        target = announcement.url or announcement.log_url
        data = {"state": state, "context": context, "description": _sentence(announcement)}
        names = names_of_link(change) | {"sha": announcement.sha}
        await self._rest.create(STATUSES, names, data | ({"target_url": target} if target else {}))
        self._remember(key, announcement)

    async def react(self, repository: Repository, comment: str, reaction: Reaction) -> None:
        """See the port. Deleted comments are ignored."""
        try:
            await self._rest.create(
                REACTIONS, names_of(repository) | {"comment": comment}, {"content": reaction}
            )
        except Refused as error:
            if error.status not in GONE:
                raise

    async def _replace_deployment(self, change: ChangeLink, announcement: Announcement, older: str) -> str:
        """Deactivate older deployments and create this commit's. Returns its id; empty if none is needed.

        In this order: after an interruption the next call must still find the older ones.
        """
        listed = await self._listed(change, announcement.environment)
        current = next((d.id for d in listed if d.sha == announcement.sha), "")
        newest = next((d.id for d in listed if d.sha != announcement.sha), "")
        for old in dict.fromkeys(filter(None, (older, newest))):
            await self._update(change, old, Announcement(announcement.environment, "", Progress.INACTIVE, ""))
        if not current and announcement.progress is Progress.INACTIVE:
            return ""
        current = current or await self._create(change, announcement)
        await self._set_state(change, current, announcement)
        return current

    async def _listed(self, change: ChangeLink, environment: str) -> list[responses.GithubDeployment]:
        """The newest hundred, newest first. Older ones were deactivated by their successors."""
        answer = await self._rest.read_first(DEPLOYMENTS, names_of_link(change), environment=environment)
        try:
            found = [responses.read_deployment(one) for one in answer]
        except wire.Unreadable as error:
            raise problems.unreadable(error, f"GET {DEPLOYMENTS}") from None
        ours = [deployment for deployment in found if deployment.environment == environment]
        return sorted(ours, key=lambda deployment: int(deployment.id), reverse=True)

    async def _create(self, change: ChangeLink, announcement: Announcement) -> str:
        data = {
            "ref": announcement.sha,
            "environment": announcement.environment,
            "description": _sentence(announcement),
            "transient_environment": True,
            "production_environment": False,
            # By default, GitHub merges the base into the branch and waits for all other checks.
            "auto_merge": False,
            "required_contexts": [],
        }
        answer = await self._rest.create(DEPLOYMENTS, names_of_link(change), data)
        try:
            return responses.read_id(answer)
        except wire.Unreadable as error:
            raise problems.unreadable(error, f"POST {DEPLOYMENTS}") from None

    async def _update(self, change: ChangeLink, deployment: str, announcement: Announcement) -> bool:
        """Set the deployment's state. Returns whether the deployment exists."""
        try:
            await self._set_state(change, deployment, announcement)
        except Refused as error:
            if error.status not in GONE | {422}:
                raise
            return False
        return True

    async def _set_state(self, change: ChangeLink, deployment: str, announcement: Announcement) -> None:
        key = (change.repository_id, deployment)
        if self._last.get(key) == announcement:
            return
        data: dict[str, object] = {
            "state": DEPLOYMENT_STATES[announcement.progress],
            "description": _sentence(announcement),
            "auto_inactive": False,
        }
        data |= {"environment_url": announcement.url} if announcement.url else {}
        data |= {"log_url": announcement.log_url} if announcement.log_url else {}
        await self._rest.create(DEPLOYMENT_STATUSES, names_of_link(change) | {"deployment": deployment}, data)
        self._remember(key, announcement)

    def _remember(self, key: tuple[str, ...], announcement: Announcement) -> None:
        self._last[key] = announcement
        self._last.move_to_end(key)
        while len(self._last) > MOST_REMEMBERED:
            self._last.popitem(last=False)


def _sentence(announcement: Announcement) -> str:
    """The description on one line, cut to GitHub's limit."""
    text = " ".join(announcement.description.split())
    return text if len(text) <= LONGEST_DESCRIPTION else text[: LONGEST_DESCRIPTION - 1] + "…"
