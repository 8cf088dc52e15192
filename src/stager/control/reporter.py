"""The one author of what Stager says in a pull request: one comment, kept up to date.

It hears every change of state and looks for itself. Its failure costs nobody the preview.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from stager.control.addresses import Addresses
from stager.control.applications import Applications
from stager.control.errands import Errands
from stager.control.forges import Forges
from stager.domain.deployment import Deployment
from stager.domain.environment import ChangeLink, Environment
from stager.domain.errors import Retry, StagerError
from stager.domain.status import State, Status, status_of
from stager.ports.forge import Reports
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 300
"""Seconds between two tries while the forge doesn't take a comment; it is tried until it does."""
SHORTEST_SHA = 7

HEADLINES = {
    State.STARTING: "⏳ The preview is starting",
    State.BUILDING: "⏳ The preview is being built",
    State.LIVE: "✅ The preview is live",
    State.UPDATING: "⏳ The preview is being refreshed",
    State.FAILED: "❌ The preview failed",
    State.FAILED_UPDATE: "⚠️ The newest commit failed; the preview still shows the one before",
    State.STOPPED: "⏸️ The preview is stopped",
    State.REFUSED: "🚫 No preview",
    State.GONE: "🗑️ The preview was removed",
}


class Reporter:
    """Keeps one comment for each pull request's environment.

    Args:
        installation: the id by which our comments are told from another Stager's.
        removes: whether the comment goes with the preview; otherwise it says that the preview went.
    """

    def __init__(
        self,
        store: Store,
        forges: Forges,
        addresses: Addresses,
        applications: Applications,
        installation: str,
        *,
        comments: bool = True,
        removes: bool = False,
    ) -> None:
        self._store = store
        self._forges = forges
        self._comments = comments
        self._addresses = addresses
        self._applications = applications
        self._installation = installation
        self._removes = removes
        self._errands = Errands(self._report)

    def changed(self, environment_id: str) -> None:
        """Report soon how this environment stands."""
        self._errands.ask(environment_id)

    async def close(self) -> None:
        """Stop; what wasn't said is said after the next start."""
        await self._errands.close()

    async def _report(self, environment_id: str) -> None:
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(Retry),
                wait=wait_exponential(multiplier=2, max=LONGEST_PAUSE),
            ):
                with attempt:
                    await self._bring_up_to_date(environment_id)
        except StagerError as error:
            log.warning("report_refused", environment=environment_id, reason=error.reason, error=str(error))
        except Exception:
            log.exception("report_failed", environment=environment_id)

    async def _bring_up_to_date(self, environment_id: str) -> None:
        found = await self._store.read(lambda tx: _picture(tx, environment_id))
        if found is None:
            return
        environment, deployment, said = found
        status = status_of(environment, deployment)
        forge = self._forges.of(environment.change.repository_id) if environment.change else None
        if forge is None or not self._comments:
            return
        if environment.change is None or not (status.settled or environment.comment_id):
            return  # people are notified of a new comment, so it waits until there is something to see
        if status.state is State.GONE and not environment.comment_id:
            return
        if self._removes and status.state in (State.GONE, State.STOPPED):
            await self._remove(forge.reports, environment, environment.change)
            return
        url = self._addresses.url(environment.host)
        withheld = self._applications.withheld(environment.app, environment.desired.trust)
        body = comment_body(environment, deployment, status, url, withheld)
        digest = hashlib.sha256(body.encode()).hexdigest()
        if digest == said:
            return
        marker = self._marker(environment)
        comment_id = await forge.reports.comment(
            environment.change, marker=marker, body=f"{marker}\n{body}", known=environment.comment_id
        )
        await self._store.write(lambda tx: _remember(tx, environment_id, comment_id, digest))

    async def _remove(self, reports: Reports, environment: Environment, change: ChangeLink) -> None:
        if environment.comment_id:
            await reports.uncomment(change, marker=self._marker(environment), known=environment.comment_id)
            await self._store.write(lambda tx: _remember(tx, environment.id, "", ""))

    def _marker(self, environment: Environment) -> str:
        """By the app and not by our own id: after the database was lost, a new environment finds it again."""
        return f"<!-- stager:{self._installation}:{environment.app} -->"


def comment_body(
    environment: Environment,
    deployment: Deployment | None,
    status: Status,
    url: str,
    withheld: Sequence[str] = (),
) -> str:
    """The comment's text in GitHub's Markdown. What comes from people or programs can't break out of it.

    Args:
        withheld: the names of the secrets that its code doesn't get.
    """
    lines = [f"### {HEADLINES[status.state]}", ""]
    if environment.serving is not None and status.state is not State.GONE:
        lines += [f"**{url}**", ""]
    if status.state is not State.LIVE:
        lines += [" ".join(filter(None, (_escaped(status.message), _escaped(status.hint)))), ""]
    if status.lines:
        lines += ["<details><summary>The last lines of its log</summary>", "", *_fenced(status.lines), "",
                  "</details>", ""]  # fmt: skip
    if withheld and status.state is not State.GONE:
        lines += [f"🔒 Code from forks doesn't get these secrets: {_escaped(', '.join(withheld))}.", ""]
    return "\n".join([*lines, _footer(environment, deployment)]).rstrip() + "\n"


def _footer(environment: Environment, deployment: Deployment | None) -> str:
    sha = environment.desired.revision.sha
    commit = f"Commit `{sha[:SHORTEST_SHA]}`" if sha.isalnum() else ""
    took = _took(deployment.created_at, deployment.live_at) if deployment and deployment.live_at else ""
    return " · ".join(filter(None, (commit, took)))


def _took(start: datetime, end: datetime) -> str:
    seconds = (end - start).total_seconds()
    return f"up in {seconds:.1f} s" if seconds < 60 else f"up in {seconds / 60:.1f} min"


def _escaped(text: str) -> str:
    """Text without a meaning in Markdown or HTML, and without notifying anybody."""
    one_line = " ".join(text.split())
    escaped = "".join(f"\\{c}" if c in r"\`*_{}[]()#+-!|<>~" else c for c in one_line)
    return escaped.replace("@", "@\u200b")


def _fenced(lines: tuple[str, ...]) -> list[str]:
    """A code block with a fence longer than any run of backticks within (CommonMark 4.5)."""
    text = "\n".join(lines)
    longest = max((len(run) for run in _runs_of_backticks(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]


def _runs_of_backticks(text: str) -> list[str]:
    return ["`" * len(piece) for piece in "".join(c if c == "`" else " " for c in text).split()]


def _picture(tx: Transaction, environment_id: str) -> tuple[Environment, Deployment | None, str] | None:
    environment = tx.environment(environment_id)
    if environment is None:
        return None
    deployment = tx.deployment_of(environment_id, environment.desired.generation)
    return environment, deployment, tx.fact(f"comment:{environment_id}")


def _remember(tx: Transaction, environment_id: str, comment_id: str, digest: str) -> None:
    environment = tx.environment(environment_id)
    if environment is not None:
        tx.save_environment(replace(environment, comment_id=comment_id))
        tx.save_fact(f"comment:{environment_id}", digest)
