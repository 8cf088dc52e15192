"""Keeps one comment in each pull request up to date.

People are notified of a new comment, never of an edit. So there is none before there is something to see, and
none for a refusal that its author knows of or can do without: that is told by the commit's status.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from stager.control.forges import Forges
from stager.control.reporting.pr_comment_template import comment_body
from stager.control.reporting.report_state import ReportState, picture_of
from stager.control.routing.urls import Urls
from stager.domain.application import Applications
from stager.domain.environment import UNAPPROVED, ChangeLink, Environment, SuspensionReason
from stager.domain.status import State, Status
from stager.ports.forge import Reports
from stager.ports.store import StateKind, Store, Transaction

NEWS = frozenset({State.LIVE, State.FAILED, State.FAILED_UPDATE})
TOLD_AT_ONCE = UNAPPROVED | {SuspensionReason.NO_ROOM}
"""Why there is no preview, where its author can't know and somebody has to do something. The other reasons
are rules of the house, the author's own wish, and checks that are on their way."""


class PullRequestCommentSink:
    """The comments.

    Args:
        installation: the id by which our comments are told from another Stager's.
        removes: whether the comment goes with the preview; otherwise it says that the preview went.
    """

    def __init__(
        self,
        store: Store,
        forges: Forges,
        addresses: Urls,
        applications: Applications,
        installation: str,
        *,
        removes: bool = False,
    ) -> None:
        self._store = store
        self._forges = forges
        self._addresses = addresses
        self._applications = applications
        self._installation = installation
        self._removes = removes

    async def say(self, environment_id: str) -> None:
        """Have the comment say how this environment stands. Raises what `Reports.comment` does."""
        picture = await self._store.read(lambda tx: picture_of(tx, environment_id))
        change = picture.environment.change if picture else None
        forge = self._forges.of(change.repository_id) if change else None
        if picture is None or change is None or forge is None:
            return
        if self._removes and picture.status.state in (State.GONE, State.STOPPED):
            await self._remove(forge.reports, picture.environment, change)
        elif picture.environment.comment_id or _is_worth_one(picture):
            await self._write(forge.reports, picture, change)

    async def _write(self, reports: Reports, picture: ReportState, change: ChangeLink) -> None:
        environment = picture.environment
        body = comment_body(
            picture,
            self._addresses.url(environment.host),
            self._addresses.page(environment.id),
            self._applications.withheld(environment.app, environment.desired.trust),
            self._applications.warnings(environment.app, environment.desired.trust),
        )
        digest = hashlib.sha256(body.encode()).hexdigest()
        if digest == await self._store.read(
            lambda tx: tx.environment_state(environment.id, StateKind.COMMENT)
        ):
            return
        marker = self._marker(environment)
        comment_id = await reports.comment(
            change, marker=marker, body=f"{marker}\n{body}", known=environment.comment_id
        )
        await self._store.write(lambda tx: _remember(tx, environment.id, comment_id, digest))

    async def _remove(self, reports: Reports, environment: Environment, change: ChangeLink) -> None:
        if environment.comment_id:
            await reports.uncomment(change, marker=self._marker(environment), known=environment.comment_id)
            await self._store.write(lambda tx: _remember(tx, environment.id, "", ""))

    def _marker(self, environment: Environment) -> str:
        """By the app and not by our own id: after the database was lost, a new environment finds it again."""
        return f"<!-- stager:{self._installation}:{environment.app} -->"


def _is_worth_one(picture: ReportState) -> bool:
    """Whether people are to be notified."""
    return picture.note is not None or picture.status.state in NEWS or _is_told_at_once(picture.status)


def _is_told_at_once(status: Status) -> bool:
    return status.state in (State.REFUSED, State.STOPPED) and SuspensionReason(status.reason) in TOLD_AT_ONCE


def _remember(tx: Transaction, environment_id: str, comment_id: str, digest: str) -> None:
    environment = tx.environment(environment_id)
    if environment is not None:
        tx.save_environment(replace(environment, comment_id=comment_id))
        tx.save_environment_state(environment_id, StateKind.COMMENT, digest)
