"""Pull requests: whatever is delivered, in whatever order and however often, what runs is what is open."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from urllib.parse import urlencode

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.github import Github
from tests.integration.pulls import Pull
from tests.integration.stager import SECRET, StagerUnderTest, basic, until


def quiet(stager: StagerUnderTest) -> None:
    """Wait until every delivery has been worked through."""

    def done() -> bool:
        events = [
            json.loads(line)["event"] for line in stager.log.read_text().splitlines() if line.startswith("{")
        ]
        taken = [
            json.loads(line) for line in stager.log.read_text().splitlines() if '"event": "delivery"' in line
        ]
        return events.count("delivery_done") == sum(1 for line in taken if line["new"])

    until(done, "all deliveries are done")


def test_r12_r92_r93_opened_pushed_and_closed(stager: StagerUnderTest) -> None:
    pull = Pull()
    assert stager.deliver(pull.opened()).status_code == 202
    stager.wait_for("my-branch", "live")
    assert stager.get("my-branch").text == f"my-branch {pull.sha}"
    variables = stager.get("my-branch", "/env").json()
    assert variables["pull_request_number"] == "1"
    assert variables["repo_owner"] == "acme"
    assert variables["STAGER_SHA"] == pull.sha
    stager.deliver(pull.push())
    until(lambda: stager.get("my-branch").text == f"my-branch {pull.sha}", "the push is shown")
    until(lambda: len(stager.containers()) == 1, "exactly one instance is left")
    stager.deliver(pull.closed(merged=True))
    until(lambda: stager.get("my-branch").status_code == 410, "it is gone")
    until(lambda: not stager.containers() and not stager.networks(), "nothing is left", 90)


def test_r92_a_close_without_the_head_repository_removes_too(stager: StagerUnderTest) -> None:
    pull = Pull()
    stager.deliver(pull.opened())
    stager.wait_for("my-branch", "live")
    stager.deliver(pull.closed(head_deleted=True))
    until(lambda: not stager.containers(), "it is gone")


def test_reopened_comes_back_at_the_same_url(stager: StagerUnderTest) -> None:
    pull = Pull()
    stager.deliver(pull.opened())
    url = stager.wait_for("my-branch", "live")["url"]
    stager.deliver(pull.closed())
    until(lambda: not stager.containers(), "it is gone")
    stager.deliver(pull.reopened())
    assert stager.wait_for("my-branch", "live")["url"] == url


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_r68_any_order_of_deliveries_ends_the_same(stager: StagerUnderTest, order: tuple[int, ...]) -> None:
    """Opened, pushed and closed for one pull request; opened and pushed twice for another."""
    first, second = Pull(1, "first"), Pull(2, "second")
    gone = [first.opened(), first.push(), first.closed()]
    stays = [second.opened(), second.push(), second.push()]
    for index in order:
        stager.deliver(gone[index])
        stager.deliver(stays[index])
    quiet(stager)
    stager.wait_for("second", "live")
    assert stager.get("second").text == f"second {second.sha}"
    until(lambda: stager.get("first").status_code in (404, 410), "the closed one is gone")
    until(lambda: not stager.containers("label=stager.name=first"), "its containers are removed")


def test_r68_repetitions_change_nothing(stager: StagerUnderTest) -> None:
    pull = Pull()
    opened = pull.opened()
    assert stager.deliver(opened, delivery="abc").text == "accepted"
    stager.wait_for("my-branch", "live")
    before = stager.containers()
    assert stager.deliver(opened, delivery="abc").text == "accepted before"
    stager.deliver(opened, delivery="another-id")
    quiet(stager)
    assert stager.containers() == before
    assert stager.environment("my-branch")["generation"] == 1


@pytest.mark.parametrize("event", ["ping", "issues", "push", "star", "no_such_event", "check_run"])
def test_r74_other_events_are_accepted_without_effect(stager: StagerUnderTest, event: str) -> None:
    assert stager.deliver({"action": "opened", "zen": "x"}, event=event).status_code == 202
    quiet(stager)
    assert stager.api() == []


def test_r76_forged_deliveries_have_no_effect(stager: StagerUnderTest) -> None:
    opened = Pull().opened()
    body = json.dumps(opened).encode()
    right = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    for headers in (
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": f"sha256={'0' * 64}"},
        {"X-Hub-Signature-256": f"sha256={right[:-1]}"},
        {"X-Hub-Signature-256": right},
        {"X-Hub-Signature-256": "", "X-Hub-Signature": f"sha1={'0' * 40}"},
    ):
        assert stager.deliver(opened, headers=headers).status_code == 401, headers
    tampered = {**opened, "number": 2}
    assert stager.deliver(tampered, headers={"X-Hub-Signature-256": f"sha256={right}"}).status_code == 401
    assert stager.api() == []


@pytest.mark.parametrize("allowed", [False, True])
def test_r76_sha1_alone_counts_where_it_is_allowed_and_forms_are_read(
    make_stager: MakeStager, allowed: bool
) -> None:
    stager = make_stager(github={"incoming_auth": {"hook_secret": SECRET, "allow_sha1": allowed}})
    body = urlencode({"payload": json.dumps(Pull().opened())}).encode()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-GitHub-Event": "pull_request",
        "X-GitHub-Delivery": "form-1",
        "X-Hub-Signature": "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest(),
    }
    answer = stager._client.post(f"{stager.url}/webhooks/github", content=body, headers=headers)
    if allowed:
        assert answer.status_code == 202
        stager.wait_for("my-branch", "live")
    else:
        assert answer.status_code == 401
        assert "signed with SHA-1 only" in answer.text


def test_r69_r73_credentials_are_demanded_when_configured(make_stager: MakeStager) -> None:
    incoming = {"hook_secret": SECRET, "user": "hooker", "password": "hookpass"}
    stager = make_stager(github={"incoming_auth": incoming})
    opened = Pull().opened()
    assert stager.deliver(opened).status_code == 401
    assert stager.deliver(opened, headers={"Authorization": basic("hooker", "wrong")}).status_code == 401
    assert stager.deliver(opened, headers={"Authorization": basic("hooker", "hookpass")}).status_code == 202
    stager.wait_for("my-branch", "live")


def test_r65_without_its_listener_an_event_does_nothing(make_stager: MakeStager) -> None:
    stager = make_stager(event_listeners=["LaunchOnGithubPullRequestOpened"])
    pull = Pull()
    stager.deliver(pull.opened())
    stager.wait_for("my-branch", "live")
    stager.deliver(pull.closed())
    quiet(stager)
    assert stager.get("my-branch").status_code == 200


def test_forks_wait_with_a_notice(stager: StagerUnderTest) -> None:
    stager.deliver(Pull(fork=True).opened())
    refused = stager.wait_for("my-branch", "refused")
    assert refused["reason"] == "approval"
    label = refused["url"].removeprefix("http://").partition(".")[0]
    until(lambda: stager.get(label).status_code == 403, "its page says so")
    assert "fork" in stager.get(label, Accept="text/html").text
    assert stager.containers() == []


def test_a_fork_cannot_take_the_address_of_a_branch(stager: StagerUnderTest) -> None:
    stager.deliver(Pull(fork=True).opened())
    refused = stager.wait_for("my-branch", "refused")
    url = stager.launched("my-branch", VERSION="ours")
    assert url == f"http://{stager.host('my-branch')}" != refused["url"]
    assert stager.get("my-branch").text == "my-branch ours"


def test_two_pull_requests_of_one_branch_have_previews_of_their_own(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": {}, "blog": {}})
    stager.deliver(Pull(1, "patch-1").opened())
    stager.deliver(Pull(1, "patch-1", repository="blog").opened())
    until(lambda: len([e for e in stager.api() if e["state"] == "live"]) == 2, "both are live")
    assert len({e["url"] for e in stager.api()}) == 2


def test_a_branch_called_default_gets_another_slug(stager: StagerUnderTest) -> None:
    stager.deliver(Pull(1, "default").opened())
    host = stager.wait_for("default", "live")["url"].removeprefix("http://")
    assert not host.startswith("default.")
    assert stager.get(host.partition(".")[0]).text.startswith("default ")


def test_a_manual_kill_holds_until_the_next_push(stager: StagerUnderTest) -> None:
    pull = Pull()
    stager.deliver(pull.opened())
    stager.wait_for("my-branch", "live")
    assert stager.kill("my-branch").text == "ok"
    assert stager.get("my-branch").status_code == 503
    stager.deliver(pull.opened())
    quiet(stager)
    assert stager.environment("my-branch")["state"] == "stopped"
    stager.deliver(pull.push())
    stager.wait_for("my-branch", "live")


def test_a_manual_launch_of_a_branch_is_its_pull_requests_preview(stager: StagerUnderTest) -> None:
    stager.deliver(Pull().opened())
    live = stager.wait_for("my-branch", "live")
    assert stager.launched("my-branch", COLOUR="red") == live["url"]
    assert stager.get("my-branch", "/env").json()["COLOUR"] == "red"
    assert len(stager.api()) == 1


def test_r77_one_comment_is_kept_up_to_date(make_stager: MakeStager, github: Github) -> None:
    stager = make_stager(
        images={"shop": {"repo_owner": "acme"}},
        post_launch_handlers=["AddGithubPullRequestCommentOnLaunch"],
        resync_interval="1h",
        github=github.settings,
    )
    number = github.open("my-branch")
    stager.deliver(github.event("opened", number))
    stager.wait_for("my-branch", "live")
    comment = until(lambda: github.comments(number), "the comment is there")
    assert f"http://my-branch.localhost:{stager.port}" in comment[0]
    before = github.push(number)
    stager.deliver(github.event("synchronize", number, before))
    sha = github.sha(number)
    until(lambda: sha[:7] in github.comments(number)[0], "the comment names the new commit")
    github.close(number)
    stager.deliver(github.event("closed", number))
    until(lambda: "removed" in github.comments(number)[0], "the comment says so")
    assert len(github.comments(number)) == 1


def test_r77_a_failing_comment_doesnt_prevent_the_preview(make_stager: MakeStager, github: Github) -> None:
    stager = make_stager(
        post_launch_handlers=["AddGithubPullRequestCommentOnLaunch"],
        github=github.settings,
    )
    number = github.open("my-branch")
    github.fail("POST", "/comments$", status=500, times=1000)
    github.fail("GET", "/comments$", status=403, times=1000)
    stager.deliver(github.event("opened", number))
    stager.wait_for("my-branch", "live")
    assert stager.get("my-branch").status_code == 200


def test_what_was_missed_is_healed_both_ways(make_stager: MakeStager, github: Github) -> None:
    stager = make_stager(
        images={"shop": {"repo_owner": "acme"}},
        resync_interval="0.5s",
        github=github.settings,
    )
    first, second = github.open("first"), github.open("second")
    stager.wait_for("first", "live")
    stager.wait_for("second", "live")
    github.fail("GET", "/pulls$", status=500, times=3)
    github.fail("GET", "/pulls$", body="[]", status=200, times=3)
    until(lambda: github.failures_left() == 0, "the list failed and was empty for a while")
    assert {e["name"] for e in stager.api() if e["state"] == "live"} == {"first", "second"}
    github.close(first)
    github.push(second)
    until(lambda: stager.get("first").status_code == 410, "the closed one is gone")
    until(lambda: stager.get("second").text == f"second {github.sha(second)}", "the missed push is shown")
