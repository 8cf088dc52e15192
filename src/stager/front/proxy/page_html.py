"""The pages of the front as HTML.

Pure. Names, messages and log lines come from users and repositories, so everything is escaped. A page loads
nothing: style sheet and script are inline, and the policy allows exactly these two.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib import resources
from string import Template

from stager.domain.text import with_code
from stager.front.proxy.error_pages import SOON, ErrorPage

_FILES = resources.files("stager.front.proxy")
_LAYOUT = Template(_FILES.joinpath("page.html").read_text(encoding="utf-8"))
_STYLE = _FILES.joinpath("page.css").read_text(encoding="utf-8")
_SCRIPT = _FILES.joinpath("page.js").read_text(encoding="utf-8")
_WITHOUT_SCRIPT_SECONDS = 5
"""Longer than with the script, because the browser loads the whole page again."""
_STAGES = {"building": "Build", "starting": "Start", "checking": "Check", "running": "Run"}


def _source_of(text: str) -> str:
    """The source expression for an inline element (Content Security Policy Level 3, section 2.3.1)."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {_source_of(_STYLE)}; script-src {_source_of(_SCRIPT)}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy of the pages."""


def html(page: ErrorPage, now: float, *, refreshes: bool) -> bytes:
    """Return the page.

    Args:
        now: seconds since 1970.
        refreshes: whether the page keeps itself up to date, and leads to the preview once that is live.
    """
    template, details = page.template, page.details
    seconds = f"{_WITHOUT_SCRIPT_SECONDS}" if refreshes and template.refresh == SOON else ""
    text = _LAYOUT.substitute(
        title=escape(page.title),
        heading=escape(page.title).replace(".", ".<wbr>"),  # a host may be longer than a line
        style=_STYLE,
        script=f'<script type="module">{_SCRIPT}</script>' if refreshes else "",
        noscript=f'<noscript><meta http-equiv="refresh" content="{seconds}"></noscript>' if seconds else "",
        refresh=template.refresh,
        tone=template.tone,
        label=escape(_label(page)),
        app=f'<span class="app">{escape(details.app)}</span>' if details.app else "",
        words=_paragraphs(page.for_visitors),
        progress=_steps(page) + _elapsed(page, now),
        contact=f'<p class="contact">{escape(page.contact)}</p>' if page.contact else "",
        details=_paragraphs(page.for_developers),
        hidden="" if page.for_developers or details.lines or details.findings else " hidden",
        lines=_log(details.lines_title, details.lines),
        findings=_log("What Stager found in the Compose file", details.findings),
        links=_link(details.url, f"Pull request #{details.number}" if details.number else "Pull request")
        + _link(details.log_url, "Logs and deployments"),
        status=template.status,
    )
    return text.encode()


def _label(page: ErrorPage) -> str:
    place = page.details.place
    return f"{page.template.label}, place {place}" if place else page.template.label


def _paragraphs(texts: list[str]) -> str:
    return "".join(f"<p>{with_code(escape(text))}</p>" for text in texts)


def _steps(page: ErrorPage) -> str:
    """The stages of the deployment, with the current one marked."""
    details = page.details
    stages = [*details.stages, *(["running"] if details.stage == "running" else [])]
    if details.stage not in stages or details.place:
        return ""
    current = stages.index(details.stage)
    items = (_step(stage, i - current, failed=page.state == "failed") for i, stage in enumerate(stages))
    return f'<ol class="steps">{"".join(items)}</ol>'


def _step(stage: str, ahead: int, *, failed: bool) -> str:
    """One stage.

    Args:
        ahead: how far it is from the current one; negative for a stage that is over.
    """
    name = escape(_STAGES.get(stage, stage))
    if ahead > 0:
        return f"<li>{name}</li>"
    state = "done" if ahead < 0 else "failed" if failed else "now"
    current = ' aria-current="step"' if state == "now" else ""
    said = {"done": "done", "failed": "failed", "now": "in progress"}[state]
    return f'<li class="{state}"{current}>{name}<span class="unseen">, {said}</span></li>'


def _elapsed(page: ErrorPage, now: float) -> str:
    since = page.details.since
    if not since:
        return ""
    seconds = max(0, int(now) - since)
    duration = f"{seconds} s" if seconds < 100 else f"{seconds // 60} min"
    return f'<p class="soft">{"Waiting" if page.state == "queued" else "In progress"} for {duration}.</p>'


def _log(title: str, lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    name, text = escape(title or "Last lines of the log"), escape("\n".join(lines))
    # Reversed by the style sheet, so that the browser shows the end without a script.
    box = f'class="log" tabindex="0" role="region" aria-label="{name}"'
    return f"<h3>{name}</h3><div {box}><pre>{text}</pre></div>"


def _link(url: str, text: str) -> str:
    """A link, if the URL is a web address: a `javascript:` URL would run on this page."""
    if not url.startswith(("https://", "http://")):
        return ""
    return f'<a href="{escape(url)}" rel="noreferrer">{text}</a>'
