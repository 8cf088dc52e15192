"""Takes the picture of the pull-request comment for the documentation, docs/images/comment.png.

The text is Stager's own, for an environment of this module. GitHub's rendering is imitated: CommonMark, links
from plain URLs, and GitHub's widths, fonts and colors.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo_stage import ROOT
from markdown_it import MarkdownIt
from playwright.sync_api import Browser

from stager.control.reporting.pr_comment_template import comment_body
from stager.control.reporting.reporter import ReportState
from stager.domain.attempt import Attempt
from stager.domain.deployment import Deployment
from stager.domain.environment import ChangeLink, Desired, Environment, EnvironmentKey, RunState
from stager.domain.errors import Fault, Outcome
from stager.domain.source import Revision

TARGET = ROOT / "docs" / "images" / "comment.png"
HOME = "http://demo.example.org"
SINCE = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
LIVE = Revision("36a93f3999bb40f1dd5a3e71b0c289f42a65e926", "warm-welcome")
BROKEN = Revision("9c1e0d7f2b64a35180efc1d2a7b3940586e7d1f3", "warm-welcome")
LOG = """\
#8 [4/5] RUN npm run build
#8 1.904 src/cart.ts(41,7): error TS2322: Type 'string' is not assignable to type 'number'."""
PAGE = """\
<!doctype html><meta charset="utf-8"><style>
body { margin: 0; padding: 24px; width: 760px; color: #1f2328;
       font: 14px/1.5 "DejaVu Sans", "Noto Color Emoji", sans-serif; }
article { border: 1px solid #d1d9e0; border-radius: 6px; margin-bottom: 16px; }
header { padding: 8px 16px; background: #f6f8fa; border-bottom: 1px solid #d1d9e0; color: #59636e;
         border-radius: 6px 6px 0 0; }
header b { color: #1f2328; }
header span { border: 1px solid #d1d9e0; border-radius: 2em; padding: 0 7px; font-size: 12px;
              margin-left: 6px; }
main { padding: 16px; }
h3 { margin: 0 0 16px; font-size: 1.25em; } p { margin: 0 0 12px; }
a { color: #0969da; text-decoration: underline; }
code { background: #818b981f; border-radius: 6px; padding: .2em .4em;
       font: 85% "DejaVu Sans Mono", monospace; }
pre { background: #f6f8fa; border-radius: 6px; padding: 16px; margin: 8px 0 16px; font-size: 85%; }
pre code { background: none; padding: 0; font-size: 100%; }
details { margin: 0 0 8px; } summary { cursor: default; }
</style>"""
COMMENT = """\
<article><header><b>stager-acme</b><span>bot</span> commented {when}</header><main>{text}</main></article>"""


def take(browser: Browser, target: Path = TARGET) -> None:
    """Save the picture: the comment while the preview is live, and after a commit that can't be built."""
    page = browser.new_page(viewport={"width": 808, "height": 100}, device_scale_factor=2)
    page.set_content(PAGE + _comment(_live(), "2 minutes ago") + _comment(_failed(), "1 hour ago · edited"))
    page.locator("summary", has_text="Last lines of the build log").click()
    page.screenshot(path=target, full_page=True)
    page.close()


def _comment(state: ReportState, when: str) -> str:
    url, log = "http://warm-welcome.demo.example.org", f"{HOME}/previews/{state.environment.id}"
    text = MarkdownIt("commonmark", {"html": True}).render(comment_body(state, url, log))
    linked = re.sub(r'(?<!["=])\b(https?://[^\s<]+)', r'<a href="\1">\1</a>', text)
    return COMMENT.format(when=when, text=linked)


def _environment() -> Environment:
    change = ChangeLink("github:1", "your-account", "shop", 7, "main", "A warm welcome", "octocat",
                        "https://github.com/your-account/shop/pull/7")  # fmt: skip
    return Environment(
        id="dwhfetsycbfe",
        key=EnvironmentKey("shop", "change:github:1/7"),
        name="warm-welcome",
        host="warm-welcome.demo.example.org",
        desired=Desired(RunState.RUNNING, 1, LIVE),
        created_at=SINCE,
        updated_at=SINCE,
        change=change,
        serving=1,
    )


def _deployment() -> Deployment:
    return Deployment("gjmzy7yif5sp", "dwhfetsycbfe", LIVE, Attempt(1), SINCE, starting_at=SINCE,
                      live_at=SINCE + timedelta(seconds=1.1))  # fmt: skip


def _live() -> ReportState:
    return ReportState(_environment(), _deployment(), _deployment())


def _failed() -> ReportState:
    environment = replace(_environment(), desired=Desired(RunState.RUNNING, 2, BROKEN))
    return ReportState(environment, _failed_deployment(), _deployment())


def _failed_deployment() -> Deployment:
    message = "The step `RUN npm run build` failed with exit code 2."
    outcome = Outcome.of(Fault(message, reason="build-failed", detail=LOG))
    return replace(
        _deployment(),
        id="k3v8qn2xw7ra",
        revision=BROKEN,
        attempt=Attempt(2, failures=1, outcome=outcome, final=True),
        starting_at=None,
        live_at=None,
        building_at=SINCE,
    )
