"""The comment's text: what is in it, and that nothing can be injected."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from stager.control.environments.records import Note
from stager.control.reporting.pr_comment_template import QUIET, comment_body, qr_lines
from stager.control.reporting.reporter import ReportState
from stager.domain.attempt import Attempt, ServiceFailure
from stager.domain.deployment import Deployment
from stager.domain.environment import (
    ChangeLink,
    Desired,
    Environment,
    EnvironmentKey,
    RunState,
    Suspension,
    SuspensionReason,
)
from stager.domain.errors import Outcome
from stager.domain.pull_requests.rules import FORKS_ARE_OFF
from stager.domain.recipe import Manifest
from stager.domain.source import Revision, Trust
from stager.testing.fakes.clock import START
from tests.unit.control.qr_reader import read

URL = "http://feature-x.preview.test"
PAGE = "http://preview.test/previews/e1"
SHA = "c0ffee1234" * 4
APPROVAL = Suspension(SuspensionReason.APPROVAL, "No preview yet: nobody has approved its commit.")


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


LIVE = Deployment(
    "d1", "e1", Revision(SHA), Attempt(1), START, starting_at=START + after(1), live_at=START + after(12.34)
)


def environment(text: str = "feature-x", sha: str = SHA, **desired: object) -> Environment:
    return Environment(
        "e1",
        EnvironmentKey.of_change("shop", "1", 7),
        text,
        "h.preview.test",
        replace(Desired(RunState.RUNNING, 1, Revision(sha, text)), **desired),  # type: ignore[arg-type]
        START,
        START,
        ChangeLink("1", text, text, 7, text, text, text, text),
        serving=1,
    )


def suspended(suspension: Suspension) -> Environment:
    return environment(trust=Trust.FORK, run=RunState.SUSPENDED, suspension=suspension)


def body_of(picture: ReportState, *withheld: str, url: str = URL) -> str:
    return comment_body(picture, url, PAGE, withheld)


class TestWhatIsInIt:
    def test_all_of_a_live_preview(self) -> None:
        body = body_of(ReportState(environment(), LIVE, LIVE))

        assert body.startswith(
            f"### ✅ The preview is live\n\n**{URL}**\n\n"
            f"Commit `c0ffee1` · live after 12.3 s · [log]({PAGE})\n"
        )
        assert "- `/stager redeploy`: restart it" in body
        assert "/stager approve" not in body

    def test_how_long_the_image_took(self) -> None:
        built = replace(LIVE, building_at=START, starting_at=START + after(10))

        assert "live after 12.3 s (build: 10.0 s)" in body_of(ReportState(environment(), built, built))

    def test_an_adopted_preview_has_no_duration(self) -> None:
        adopted = replace(LIVE, starting_at=None)

        assert "live after" not in body_of(ReportState(environment(), adopted, adopted))

    def test_the_served_commit_is_named_while_a_newer_one_starts(self) -> None:
        newer = environment(sha="beef000000", generation=2)
        body = body_of(ReportState(newer, None, LIVE))

        assert "is being updated" in body
        assert "Commit `beef000` · serving `c0ffee1`" in body

    def test_the_qr_code_leads_to_the_preview(self) -> None:
        body = body_of(ReportState(environment(), LIVE, LIVE))
        code = body.partition("<summary>QR code</summary>\n\n```text\n")[2].partition("\n```")[0]

        assert read(code.splitlines()) == URL

    def test_no_phone_reaches_this_machine(self) -> None:
        picture = ReportState(environment(), LIVE, LIVE)

        assert "QR code" not in body_of(picture, url="http://feature-x.localhost:8000")

    def test_what_is_gone_has_no_url_and_takes_no_commands(self) -> None:
        body = body_of(ReportState(environment(run=RunState.ABSENT), LIVE, LIVE))

        assert URL not in body
        assert "/stager" not in body

    def test_a_note_and_what_handlers_failed_at(self) -> None:
        note = Note("Last lines of the log:", ("GET / 200",))
        body = body_of(ReportState(environment(), LIVE, LIVE, note, ("PostToSlackOnLaunch failed: away",)))

        assert "💬 Last lines of the log:\n\n```text\nGET / 200\n```" in body
        assert "⚠️ PostToSlackOnLaunch failed: away" in body

    def test_a_log_without_the_colours_of_a_terminal(self) -> None:
        note = Note("Last lines of the log:", ("\x1b[31mred\x1b[0m", "10 %\r100 %"))
        body = body_of(ReportState(environment(), LIVE, LIVE, note))

        assert "```text\nred\n100 %\n```" in body

    def test_what_is_to_be_typed_is_code(self) -> None:
        held = replace(
            environment(
                trust=Trust.FORK,
                run=RunState.SUSPENDED,
                suspension=replace(APPROVAL, hint="Say `/stager approve c0ffee1`."),
            )
        )

        assert "Say `/stager approve c0ffee1`." in body_of(ReportState(held))


class TestForks:
    def test_the_secrets_withheld(self) -> None:
        body = body_of(ReportState(environment(trust=Trust.FORK), LIVE, LIVE), "API_KEY", "NPM_TOKEN")

        assert "Withheld: API\\_KEY, NPM\\_TOKEN." in body

    def test_nothing_is_withheld_from_our_own(self) -> None:
        assert "Withheld" not in body_of(ReportState(environment(), LIVE, LIVE), "API_KEY")

    def test_how_to_approve(self) -> None:
        held = replace(suspended(APPROVAL), serving=None)
        body = body_of(ReportState(held))

        assert "The preview waits for approval" in body
        assert f"- `/stager approve {SHA}`:" in body
        assert "/stager launch" not in body
        assert URL not in body

    def test_nothing_helps_where_they_are_off(self) -> None:
        held = replace(suspended(FORKS_ARE_OFF), serving=None)

        assert "/stager" not in body_of(ReportState(held))


NASTY = [
    "@everyone look",
    "[click](javascript:alert(1))",
    "![](https://evil.test/pixel)",
    "<img src=x onerror=alert(1)>",
    "</details><script>alert(1)</script>",
    "`code` **bold** #12 owner/repo#3",
    "`a``b` ``c` `d`` ` `e",
    "\\`a` \\",
    "-->\n# Heading",
    "~~~\n```\n````\nout of the fence",
]
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OURS = {
    *("heading_open", "paragraph_open", "strong_open", "bullet_list_open", "list_item_open", "fence"),
    *("inline", "text", "softbreak", "code_inline", "link_open", "html_block"),
}
"""What our own text becomes."""
HTML = re.compile(r"<details><summary>[\w ]+</summary>\n|</details>\n")


def tokens(text: str) -> list[Token]:
    """What a Markdown parser that isn't ours makes of a comment."""
    found = [t for token in MARKDOWN.parse(text) for t in (token, *(token.children or ()))]
    return [t for t in found if not t.type.endswith("_close")]


class TestInjection:
    @pytest.mark.parametrize("nasty", NASTY)
    @pytest.mark.parametrize("suspension", [None, APPROVAL], ids=["failed", "held"])
    def test_nothing_breaks_out_of_the_comment(self, nasty: str, suspension: Suspension | None) -> None:
        outcome = Outcome("fault", "exited", f"It ended: {nasty}.", f"Try {nasty}.", f"{nasty}\n{nasty}")
        attempt = Attempt(1, final=True, outcome=outcome)
        deployment = Deployment("d1", "e1", Revision(nasty, nasty), attempt, START, log=nasty)
        broken = environment(nasty, nasty, trust=Trust.FORK)
        if suspension:
            desired = broken.desired.suspended(replace(suspension, message=nasty, hint=nasty))
            broken = replace(broken, desired=desired)
        note = Note(nasty, tuple(nasty.splitlines()))
        found = tokens(body_of(ReportState(broken, deployment, deployment, note, (nasty,)), nasty))

        assert {t.type for t in found} <= OURS
        assert [t.tag for t in found if t.type == "heading_open"] == ["h3"]
        assert [t.attrs["href"] for t in found if t.type == "link_open"] == [PAGE]
        assert all(HTML.fullmatch(t.content) for t in found if t.type == "html_block")
        assert not any(re.search(r"@\w", t.content) for t in found if t.type == "text")

    @pytest.mark.parametrize("nasty", ["A" * 100_000, "\n".join("long" * 1_000 for _ in range(1_000))])
    def test_nothing_makes_it_longer_than_github_takes(self, nasty: str) -> None:
        outcome = Outcome("fault", "exited", nasty, nasty, nasty)
        deployment = replace(LIVE, attempt=Attempt(1, final=True, outcome=outcome))
        note = Note(nasty, tuple(nasty.splitlines()))

        assert len(body_of(ReportState(environment(), deployment, LIVE, note, (nasty,) * 9))) < 60_000


def test_a_qr_code_has_room_around_it() -> None:
    lines = qr_lines(URL)

    assert all(line.startswith(" " * QUIET) and line.endswith(" " * QUIET) for line in lines)
    assert not "".join(lines[: QUIET // 2] + lines[-QUIET // 2 :]).strip()


class TestServices:
    def test_the_urls_of_routed_services_are_listed(self) -> None:
        services = {"admin": "http://admin--feature-x.preview.test"}
        body = comment_body(ReportState(environment(), LIVE, LIVE), URL, services=services)
        assert "- admin: http://admin--feature-x.preview.test" in body

    def test_they_are_not_while_nothing_serves(self) -> None:
        body = comment_body(
            ReportState(replace(environment(), serving=None)), URL, services={"admin": "http://a.test"}
        )
        assert "http://a.test" not in body

    def test_a_degraded_preview_names_the_service_and_has_its_log(self) -> None:
        outcome = Outcome(
            "fault", "exited", 'The service "worker" exited.', "Check its log.", "out of memory"
        )
        attempt = Attempt(1, failed_services={"worker": ServiceFailure(6, outcome=outcome, final=True)})
        degraded = replace(LIVE, attempt=attempt)
        body = comment_body(ReportState(environment(), degraded, degraded), URL, PAGE)
        assert "⚠️ The preview is live, but a service failed" in body
        assert 'The service "worker" exited\\.' in body or 'The service "worker" exited.' in body
        assert "out of memory" in body
        assert f"**{URL}**" in body
        assert f"[log]({PAGE})" in body

    def test_what_the_compose_file_leaves_open_is_folded_in_when_it_fails(self) -> None:
        findings = (
            "Without effect:",
            "  compose.yaml:9: `tty` of a service has no effect: `</details>` @ann",
        )
        outcome = Outcome("fault", "exited", "The application exited.", "Check its log.", "out of memory")
        failed = replace(
            LIVE,
            attempt=Attempt(1, outcome=outcome, final=True),
            manifest=Manifest(findings=findings),
            live_at=None,
        )
        body = comment_body(ReportState(replace(environment(), serving=None), failed), URL)
        assert "<summary>What Stager found in the Compose file</summary>\n\n```text\nWithout effect:" in body
        assert "<summary>Last lines of the log</summary>" in body
        live = replace(LIVE, manifest=Manifest(findings=findings))
        assert "Compose file" not in comment_body(ReportState(environment(), live, live), URL)

    def test_what_is_refused_of_the_compose_file_isnt_called_a_log(self) -> None:
        outcome = Outcome("fault", "compose-refused", "It can't run here.", "", "Refused:\n  a.yaml:1: no")
        failed = replace(LIVE, attempt=Attempt(1, outcome=outcome, final=True), live_at=None)
        body = comment_body(ReportState(replace(environment(), serving=None), failed), URL)
        assert "<summary>What Stager found in the Compose file</summary>" in body
        assert "a.yaml:1: no" in body
        assert "Last lines of the log" not in body
