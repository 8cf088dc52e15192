"""The text of the comment in a pull request. Pure: what there is to tell comes in, Markdown goes out.

What comes from people or programs can't break out of it, can't notify anybody, and can't make it longer than
a forge takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from stager.control.pull_requests.policy import SHORT
from stager.control.reporting.qr import leads_elsewhere, qr_lines
from stager.control.reporting.report_state import ReportState
from stager.domain.deployment import Deployment
from stager.domain.environment import SuspensionReason
from stager.domain.pull_requests.comment_command import ABOUT, ADDRESS, Verb
from stager.domain.source import Trust
from stager.domain.status import State, Status
from stager.domain.text import as_on_screen

LONGEST_TEXT, LONGEST_LINE, MOST_LINES = 1_000, 400, 40
"""Characters of a sentence and of a line of a log, and lines of one. GitHub refuses a comment of more than
65536 characters (its API answers 422: "body is too long")."""

_CODE = re.compile(r"(?<!`)(`[^`]+`)(?!`)")
"""A code span of one backtick on each side (CommonMark 6.1)."""

HEADLINES = {
    State.STARTING: "⏳ The preview is starting",
    State.BUILDING: "⏳ The preview is being built",
    State.LIVE: "✅ The preview is live",
    State.UNRESPONSIVE: "⚠️ The preview has stopped answering",
    State.UPDATING: "⏳ The preview is being refreshed",
    State.FAILED: "❌ The preview failed",
    State.FAILED_UPDATE: "⚠️ The newest commit failed; the preview still shows the one before",
    State.STOPPED: "⏸️ The preview is stopped",
    State.REFUSED: "🚫 No preview",
    State.GONE: "🗑️ The preview was removed",
}
WAITING = {
    SuspensionReason.APPROVAL: "✋ The preview waits for an approval",
    SuspensionReason.CHECKS: "⏳ The preview waits for the checks",
}
"""Refusals that end by themselves or by a word."""


def comment_body(
    picture: ReportState,
    url: str,
    log_url: str = "",
    withheld: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> str:
    """The comment's text.

    Args:
        url: where the preview answers, or will.
        log_url: Stager's own page for it; empty while nobody knows by which name Stager is called.
        withheld: the names of the secrets that code from a fork doesn't get.
        warnings: what people should know of it, whatever state it is in.
    """
    status = picture.status
    parts = [
        f"### {_headline(status)}",
        f"**{url}**" if _is_up(picture) else "",
        _warning(status.hint) if status.state is State.LIVE else _sentences(status),
        _facts(picture, log_url),
        _said(picture),
        *map(_warning, picture.hitches[:MOST_LINES]),
        _withheld(picture, withheld),
        *(f"⚠️ {_escaped(warning)}" for warning in warnings if picture.environment.desired.is_present),
        _folded("The last lines of its log", _fenced(status.lines)) if status.lines else "",
        _folded("QR code", _fenced(qr_lines(url))) if _is_up(picture) and leads_elsewhere(url) else "",
        _folded("What can be typed here", _commands(picture)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _headline(status: Status) -> str:
    waits = WAITING.get(SuspensionReason(status.reason)) if status.state is State.REFUSED else None
    return waits or HEADLINES[status.state]


def _is_up(picture: ReportState) -> bool:
    return picture.environment.serving is not None and picture.environment.desired.is_present


def _sentences(status: Status) -> str:
    return " ".join(filter(None, (_escaped(status.message), _escaped(status.hint))))


def _warning(text: str) -> str:
    return f"⚠️ {_escaped(text)}" if text else ""


def _facts(picture: ReportState, log_url: str) -> str:
    """Commit, time taken and log, on one line."""
    wanted, serving = picture.environment.desired.revision.sha, picture.serving
    shown = serving.revision.sha if serving and serving.revision.sha != wanted else ""
    facts = (
        f"Commit {_commit(wanted)}" if _commit(wanted) else "",
        f"shows {_commit(shown)}" if _is_up(picture) and _commit(shown) else "",
        _took(picture.deployment) if picture.deployment else "",
        f"[log]({log_url})" if log_url else "",
    )
    return " · ".join(filter(None, facts))


def _commit(sha: str) -> str:
    return f"`{_short(sha)}`" if _short(sha) else ""


def _short(sha: str) -> str:
    return _plain(sha)[:SHORT]


def _plain(sha: str) -> str:
    return sha if sha.isalnum() else ""


def _took(deployment: Deployment) -> str:
    """From the wish to the first answer. What was adopted has no stamp of a start, and took no time that we
    know of."""
    if deployment.live_at is None or deployment.starting_at is None:
        return ""
    whole = f"up in {_seconds(deployment.live_at - deployment.created_at)}"
    if deployment.building_at is None:
        return whole
    return f"{whole}, {_seconds(deployment.starting_at - deployment.building_at)} of it for the image"


def _seconds(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def _said(picture: ReportState) -> str:
    """The answer to what somebody asked for."""
    note = picture.note
    if note is None:
        return ""
    return "\n\n".join(filter(None, (f"💬 {_escaped(note.text)}", "\n".join(_fenced(note.lines)))))


def _withheld(picture: ReportState, names: Sequence[str]) -> str:
    desired = picture.environment.desired
    if not names or desired.trust is not Trust.FORK or not desired.is_present:
        return ""
    return f"🔒 Code from forks gets no secrets. Withheld: {', '.join(_escaped(name) for name in names)}."


def _commands(picture: ReportState) -> list[str]:
    return [f"- `{ADDRESS} {words}`: {about}" for words, about in _verbs(picture).items()]


def _verbs(picture: ReportState) -> Mapping[str, str]:
    """What may be asked for as things stand, each with what it does."""
    desired = picture.environment.desired
    held_for = desired.suspension.reason if desired.suspension else None
    if not desired.is_present or held_for is SuspensionReason.FORK:
        return {}
    if held_for is SuspensionReason.APPROVAL:
        approve = f"{Verb.APPROVE} {_plain(desired.revision.sha)}"
        return {approve: ABOUT[Verb.APPROVE], Verb.HELP: ABOUT[Verb.HELP]}
    return {verb: about for verb, about in ABOUT.items() if verb is not Verb.APPROVE}


def _folded(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return "\n".join([f"<details><summary>{title}</summary>", "", *lines, "", "</details>"])


def _escaped(text: str) -> str:
    """Text without a meaning in Markdown or HTML, and without notifying anybody; but what stands between two
    backticks stays code, where nothing has a meaning."""
    pieces = _CODE.split(_cut(" ".join(text.split()), LONGEST_TEXT))
    return "".join(piece if i % 2 else _inert(piece) for i, piece in enumerate(pieces))


def _inert(text: str) -> str:
    escaped = "".join(f"\\{c}" if c in r"\`*_{}[]()#+-!|<>~" else c for c in text)
    return escaped.replace("@", "@\u200b")


def _fenced(lines: Sequence[str]) -> list[str]:
    """A code block with a fence longer than any run of backticks within (CommonMark 4.5)."""
    if not lines:
        return []
    text = "\n".join(_cut(as_on_screen(line), LONGEST_LINE) for line in lines[-MOST_LINES:])
    longest = max((len(run) for run in _runs_of_backticks(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _runs_of_backticks(text: str) -> list[str]:
    return ["`" * len(piece) for piece in "".join(c if c == "`" else " " for c in text).split()]
