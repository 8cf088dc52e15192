"""The text of the pull-request comment: a pure function from an environment's state to Markdown.

Text from people and programs is escaped: it can't add markup, notify anybody, or exceed the forge's limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from urllib.parse import urlsplit

from stager.control.pull_requests.policy import SHORT
from stager.control.reporting.reporter import ReportState
from stager.domain.deployment import Deployment, deployed_sha
from stager.domain.environment import SuspensionReason
from stager.domain.failure import Failure, failure_of
from stager.domain.pull_requests.comment_command import ABOUT, PREFIX, Verb
from stager.domain.source import Trust
from stager.domain.status import FINDINGS_TITLE, State, Status
from stager.domain.text import as_on_screen, binary_size

LONGEST_TEXT, LONGEST_LINE, MOST_LINES = 1_000, 400, 40
"""Characters of a sentence, characters of a log line, and log lines. GitHub refuses a comment of more than
65536 characters (its API answers 422: "body is too long")."""

_CODE = re.compile(r"(?<!`)(`[^`]+`)(?!`)")
"""A code span of one backtick on each side (CommonMark 6.1)."""

HEADLINES = {
    State.QUEUED: "⏳ The preview waits for room",
    State.STARTING: "⏳ The preview is starting",
    State.BUILDING: "⏳ The preview is being built",
    State.LIVE: "✅ The preview is live",
    State.UNRESPONSIVE: "⚠️ The preview doesn't respond",
    State.DEGRADED: "⚠️ The preview is live, but a service failed",
    State.UPDATING: "⏳ The preview is being updated",
    State.FAILED: "❌ The preview failed",
    State.FAILED_UPDATE: "⚠️ The newest commit failed; the preview still serves the previous one",
    State.ASLEEP: "💤 The preview is asleep",
    State.WAKING: "💤 The preview is waking up",
    State.STOPPED: "⏸️ The preview is stopped",
    State.EXPIRED: "⌛ The preview has expired",
    State.REFUSED: "🚫 No preview",
    State.GONE: "🗑️ The preview was removed",
}
WAITING = {
    SuspensionReason.APPROVAL: "✋ The preview waits for approval",
    SuspensionReason.CHECKS: "⏳ The preview waits for the commit's checks",
}
"""Refusals that end with the checks or with an approval."""


def comment_body(
    state: ReportState,
    url: str,
    log_url: str = "",
    withheld: Sequence[str] = (),
    warnings: Sequence[str] = (),
    services: Mapping[str, str] | None = None,
) -> str:
    """The comment's text.

    Args:
        url: the preview's.
        log_url: Stager's page of the preview; empty while Stager's own domain is unknown.
        withheld: the names of the secrets that code from a fork doesn't get.
        warnings: sentences that are shown in every state.
        services: the URLs of the other routed services, by name.
    """
    status = state.status
    parts = [
        f"### {_headline(status)}",
        f"**{url}**" if _is_up(state) else "",
        _asleep(state),
        _services(services or {}) if _is_up(state) else "",
        _warning(status.hint) if status.state is State.LIVE else _sentences(status, _failure(state)),
        _facts(state, log_url),
        *_data(state),
        _expiry(state),
        _note(state),
        *map(_warning, state.handler_failures[:MOST_LINES]),
        _withheld(state, withheld),
        *(f"⚠️ {_escaped(warning)}" for warning in warnings if state.environment.desired.is_present),
        _folded(status.lines_title, _fenced(status.lines)),
        _folded(FINDINGS_TITLE, _fenced(status.findings)),
        _folded("QR code", _fenced(qr_lines(url))) if _is_up(state) and is_reachable_elsewhere(url) else "",
        _folded("Commands", _commands(state)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _headline(status: Status) -> str:
    waits = WAITING.get(SuspensionReason(status.reason)) if status.state is State.REFUSED else None
    return waits or HEADLINES[status.state]


def _is_up(state: ReportState) -> bool:
    return state.environment.serving is not None and state.environment.desired.is_present


def _failure(state: ReportState) -> Failure | None:
    has_failed = state.status.state in (State.FAILED, State.FAILED_UPDATE, State.DEGRADED)
    return failure_of(state.deployment) if has_failed else None


def _sentences(status: Status, failure: Failure | None) -> str:
    """What happened, the likely cause, and what to do about it."""
    if failure is None or not failure.cause:
        return " ".join(filter(None, (_escaped(status.message), _escaped(status.hint))))
    return (
        f"{_escaped(status.message)}\n\n**Likely cause:** {_escaped(failure.cause)}\n\n"
        f"**What to do:** {_escaped(failure.hint)}"
    )


def _asleep(state: ReportState) -> str:
    if not state.is_asleep:
        return ""
    return " ".join(filter(None, ("💤 It is asleep. The next visit wakes it.", _escaped(state.sleep_reason))))


def _services(urls: Mapping[str, str]) -> str:
    return "\n".join(f"- {_escaped(name)}: {url}" for name, url in urls.items())


def _warning(text: str) -> str:
    return f"⚠️ {_escaped(text)}" if text else ""


def _facts(state: ReportState, log_url: str) -> str:
    """Commit, duration and log, on one line."""
    head, serving = state.environment.desired.revision.sha, state.serving
    deployed = deployed_sha(state.environment, state.deployment)
    shown = serving.revision.sha if serving and serving.revision.sha != deployed else ""
    facts = (
        f"Commit {_commit(deployed)}" if _commit(deployed) else "",
        f"rolled back from {_commit(head)}" if _commit(head) and head != deployed else "",
        f"serving {_commit(shown)}" if _is_up(state) and _commit(shown) else "",
        _duration(state.deployment) if state.deployment else "",
        f"[log]({log_url})" if log_url else "",
    )
    return " · ".join(filter(None, facts))


def _data(state: ReportState) -> Iterator[str]:
    """Which snapshots the data was cloned from, how much of it changed, and why volumes started empty."""
    shown = state.shown
    if shown is None or not state.environment.desired.is_present:
        return
    for snapshot in state.snapshots:
        old = _age(shown.created_at - snapshot.created_at)
        yield f"🗃️ Data: {_escaped(snapshot.title)}, {old} old when it was deployed"
    if state.snapshots and state.changed_data is not None:
        yield f"🗃️ Changed while it started: {binary_size(state.changed_data)}"
    for note in dict.fromkeys(each.clone_note for each in shown.services if each.clone_note):
        yield f"🗃️ {_escaped(note)}"


def _expiry(state: ReportState) -> str:
    """The warning that the preview will expire."""
    if state.notice is None:
        return ""
    extend, pin = (f"`{PREFIX} {verb}`" for verb in (Verb.EXTEND, Verb.PIN))
    return (
        f"⌛ Nobody has visited this preview or pushed for some time. It expires on "
        f"{state.notice.expires_at:%Y-%m-%d at %H:%M} UTC, and its data is removed then. A visit or a push "
        f"keeps it, as do {extend} and, for good, {pin}."
    )


def _age(span: timedelta) -> str:
    units = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))
    return next((f"{span // unit} {name}" for unit, name in units if span >= unit), "less than a minute")


def _commit(sha: str) -> str:
    return f"`{_short(sha)}`" if _short(sha) else ""


def _short(sha: str) -> str:
    return _plain(sha)[:SHORT]


def _plain(sha: str) -> str:
    return sha if sha.isalnum() else ""


def _duration(deployment: Deployment) -> str:
    """From the request to the first response. Adopted previews have no start time, so theirs is unknown."""
    if deployment.live_at is None or deployment.starting_at is None:
        return ""
    total = f"live after {_seconds(deployment.live_at - deployment.created_at)}"
    if deployment.building_at is None:
        return total
    return f"{total} (build: {_seconds(deployment.starting_at - deployment.building_at)})"


def _seconds(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def _note(state: ReportState) -> str:
    """The answer to the last comment command."""
    note = state.note
    if note is None:
        return ""
    return "\n\n".join(filter(None, (f"💬 {_escaped(note.text)}", "\n".join(_fenced(note.lines)))))


def _withheld(state: ReportState, names: Sequence[str]) -> str:
    desired = state.environment.desired
    if not names or desired.trust is not Trust.FORK or not desired.is_present:
        return ""
    return f"🔒 Code from forks gets no secrets. Withheld: {', '.join(_escaped(name) for name in names)}."


def _commands(state: ReportState) -> list[str]:
    return [f"- `{PREFIX} {words}`: {about}" for words, about in _verbs(state).items()]


def _verbs(state: ReportState) -> Mapping[str, str]:
    """The commands that are possible in this state, with their descriptions."""
    desired = state.environment.desired
    suspended_for = desired.suspension.reason if desired.suspension else None
    if not desired.is_present or suspended_for is SuspensionReason.FORK:
        return {}
    if suspended_for is SuspensionReason.APPROVAL:
        approve = f"{Verb.APPROVE} {_plain(desired.revision.sha)}"
        return {approve: ABOUT[Verb.APPROVE], Verb.HELP: ABOUT[Verb.HELP]}
    return {verb: about for verb, about in ABOUT.items() if verb is not Verb.APPROVE}


def _folded(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return "\n".join([f"<details><summary>{title}</summary>", "", *lines, "", "</details>"])


def _escaped(text: str) -> str:
    """Text without Markdown, HTML or mentions. Code spans between single backticks are kept: nothing in them
    is interpreted."""
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


QUIET = 4
"""Modules of quiet zone around it (ISO/IEC 18004, 5.3.8)."""
HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
"""Two modules, one above the other, by which of them is dark."""


def is_reachable_elsewhere(url: str) -> bool:
    """Whether another machine, such as a phone, can reach the URL."""
    host = urlsplit(url).hostname or ""
    return host != "localhost" and not host.endswith(".localhost")


@lru_cache(maxsize=256)
def qr_lines(text: str) -> tuple[str, ...]:
    """The QR code of a text, two rows of modules per line. As text, it needs no image host.

    GitHub's line height leaves fine gaps between the lines. Decoders (zxing-cpp, OpenCV) read the code when
    it is slightly blurred, as through a camera, but not from a sharp screenshot.
    """
    # Imported here: it takes a few megabytes and milliseconds, needed for comments only.
    import segno  # noqa: PLC0415

    rows = [tuple(row) for row in segno.make_qr(text, error="l").matrix_iter(border=QUIET)]
    if len(rows) % 2:
        rows.append((0,) * len(rows[0]))
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return tuple("".join(HALVES[halves] for halves in zip(*pair, strict=True)) for pair in pairs)
