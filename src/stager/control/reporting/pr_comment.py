"""One comment in each pull request, kept up to date.

A new comment notifies people, an edit doesn't. Therefore the comment is created when there is something to
see, and not for a refusal that its author expects or doesn't need: the commit status shows that.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from stager.control.pictures.links import PictureLinks
from stager.control.ports import Ports
from stager.control.reporting.pictures import pictures_text
from stager.control.reporting.pr_comment_template import comment_body
from stager.control.reporting.reporter import ReportState, report_state_of
from stager.control.routing.urls import Urls
from stager.domain.application import Applications
from stager.domain.environment import UNAPPROVED, ChangeLink, Environment, SuspensionReason
from stager.domain.errors import StagerError
from stager.domain.status import State, Status
from stager.ports.forge import Reports
from stager.ports.store import StateKind, Transaction

COMMENTED_STATES = frozenset({State.QUEUED, State.LIVE, State.DEGRADED, State.FAILED, State.FAILED_UPDATE})
COMMENTED_REASONS = UNAPPROVED | {SuspensionReason.NO_ROOM}
"""Suspensions that create a comment: those that the author can't foresee and that somebody has to act on. The
other reasons are configured rules, the author's own request, and checks in progress."""


class PullRequestCommentSink:
    """Reports environments as comments.

    Args:
        installation: this installation's id, part of the comment's marker.
        removes: whether the comment is deleted with the preview; otherwise it says that the preview was
            removed.
    """

    def __init__(
        self,
        ports: Ports,
        addresses: Urls,
        applications: Applications,
        picture_links: PictureLinks,
        installation: str,
        *,
        removes: bool = False,
    ) -> None:
        self._store, self._data, self._forges = ports.store, ports.data, ports.forges
        self._pictures, self._picture_links = ports.pictures, picture_links
        self._addresses = addresses
        self._applications = applications
        self._installation = installation
        self._removes = removes

    async def report(self, environment_id: str) -> None:
        """Create, edit or delete this environment's comment. Raises what `Reports.comment` does."""
        state = await self._store.read(lambda tx: report_state_of(tx, environment_id))
        change = state.environment.change if state else None
        forge = self._forges.of(change.repository_id) if change else None
        if state is None or change is None or forge is None:
            return
        if self._removes and state.status.state in (State.GONE, State.STOPPED, State.EXPIRED):
            await self._remove(forge.reports, state.environment, change)
        elif state.environment.comment_id or _creates_comment(state):
            await self._write(forge.reports, state, change)

    async def _write(self, reports: Reports, state: ReportState, change: ChangeLink) -> None:
        environment = state.environment
        state = replace(state, changed_data=await self._changed_data(state))
        body = comment_body(
            state,
            self._addresses.url(environment.host),
            self._addresses.page(environment.id),
            self._applications.withheld(environment.app, environment.desired.trust),
            self._warnings(state),
            self._urls_of_services(state),
        )
        if pictures := await self._pictures_of(state, change):
            body += f"\n{pictures}"
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

    async def _pictures_of(self, state: ReportState, change: ChangeLink) -> str:
        """What is said of the pictures of what visitors see; empty if there are none."""
        if self._pictures is None or state.serving is None:
            return ""
        environment = state.environment
        album = await self._pictures.albums.load(environment.id)
        urls = await self._picture_links.of_album(environment, change, album) if album else {}
        return pictures_text(album, state.serving.id, self._addresses.page(environment.id), urls)

    async def _changed_data(self, state: ReportState) -> int | None:
        """How many bytes of the clones had changed when the deployment was first reported as live: by
        migrations, for example. Measured once, so that the comment isn't edited again. None if unknown."""
        environment, serving = state.environment, state.serving
        if serving is None or not state.snapshots:
            return None
        kind = StateKind.CHANGED_DATA
        known = await self._store.read(lambda tx: tx.environment_state(environment.id, kind))
        generation, _, size = known.partition(" ")
        if generation == str(serving.generation):
            return int(size)
        try:
            found = await self._data.changed(environment.id)
        except StagerError:
            return None
        sizes = [size for volume, size in found.items() if volume.number == serving.generation]
        if not sizes:
            return None
        text = f"{serving.generation} {sum(sizes)}"
        await self._store.write(lambda tx: tx.save_environment_state(environment.id, kind, text))
        return sum(sizes)

    def _warnings(self, state: ReportState) -> tuple[str, ...]:
        environment, shown = state.environment, state.deployment or state.serving
        services = shown.specs if shown else ()
        return self._applications.warnings(environment.app, environment.desired.trust, services)

    def _urls_of_services(self, state: ReportState) -> dict[str, str]:
        """The URLs of the routed services, without the main one, of the deployment that visitors reach."""
        services = state.serving.services if state.serving else ()
        return {each.name: self._addresses.url(each.host) for each in services if each.host}

    async def _remove(self, reports: Reports, environment: Environment, change: ChangeLink) -> None:
        if environment.comment_id:
            await reports.uncomment(change, marker=self._marker(environment), known=environment.comment_id)
            await self._store.write(lambda tx: _remember(tx, environment.id, "", ""))

    def _marker(self, environment: Environment) -> str:
        """Contains the application and not the environment's id: after the database was lost, a new
        environment finds the comment again."""
        return f"<!-- stager:{self._installation}:{environment.app} -->"


def _creates_comment(state: ReportState) -> bool:
    """Whether this state is worth a notification."""
    return (
        state.note is not None
        or state.status.state in COMMENTED_STATES
        or _is_commented_suspension(state.status)
    )


def _is_commented_suspension(status: Status) -> bool:
    is_suspended = status.state in (State.REFUSED, State.STOPPED)
    return is_suspended and SuspensionReason(status.reason) in COMMENTED_REASONS


def _remember(tx: Transaction, environment_id: str, comment_id: str, digest: str) -> None:
    environment = tx.environment(environment_id)
    if environment is not None:
        tx.save_environment(replace(environment, comment_id=comment_id))
        tx.save_environment_state(environment_id, StateKind.COMMENT, digest)
