"""Deliveries that aren't about pull requests themselves: commands in comments, and checks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stager.domain.errors import Refused
from stager.domain.pull_requests.events import (
    ChecksCompleted,
    CommentAdded,
    Delivery,
    Event,
    Ignored,
    MergeQueued,
)
from stager.domain.source import Repository
from stager.forges.github.webhooks.events import GithubWebhooks
from tests.doubles.github import GithubDouble, received, signed

GITHUB = GithubDouble()
SHOP = GITHUB.add_repository("acme", "shop")
REPOSITORY = Repository(f"github:{SHOP.id}", "acme", "shop")
SHA = "a" * 40


def read(payload: object, event: str) -> Event:
    return GithubWebhooks("secret").read(Delivery("1", "github", event, json.dumps(payload)))


def said(body: str | None, author: str | None = "mona", action: str = "created", **issue: object) -> Event:
    pull = GITHUB.open_pull(SHOP, "feature/x")
    payload = GITHUB.comment_event(action, pull, GITHUB.add_comment(pull, "", author))
    payload["comment"]["body"] = body
    payload["issue"] |= issue
    return read(payload, "issue_comment")


def check(kind: str, action: str, **check: object) -> dict[str, Any]:
    repository = GITHUB.event("opened", GITHUB.open_pull(SHOP, "feature/x"))["repository"]
    return {"action": action, kind: {"head_sha": SHA, **check}, "repository": repository}


def status(state: str, context: str = "ci/build", **changes: object) -> dict[str, Any]:
    repository = GITHUB.event("opened", GITHUB.open_pull(SHOP, "feature/x"))["repository"]
    return {"sha": SHA, "state": state, "context": context, "repository": repository} | changes


@pytest.mark.parametrize(
    "body",
    [
        "/stager",
        "/stager restart",
        "  /stager\tdeploy a b",
        "/stager\r\nplease",
        "\n\n/stager stop",
        "/Stager",
    ],
)
def test_a_comment_that_begins_with_stager_is_a_command(body: str) -> None:
    event = said(body)
    assert isinstance(event, CommentAdded)
    assert (event.repository, event.author, event.text) == (REPOSITORY, "mona", body.strip())
    assert event.number > 0
    assert event.comment.isdigit()
    assert event.created_at is not None
    assert timedelta(0) <= datetime.now(UTC) - event.created_at < timedelta(minutes=1)


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "Nice!",
        "/stagers",
        "/stager-restart",
        "    /stager restart",
        "> /stager restart",
        "Try\n/stager restart",
    ],
)
def test_any_other_comment_is_not(body: str | None) -> None:
    event = said(body)
    assert isinstance(event, Ignored)
    assert event.repository == REPOSITORY


@pytest.mark.parametrize("action", ["edited", "deleted", "", "x" * 9999])
def test_only_a_new_comment_is(action: str) -> None:
    event = said("/stager", action=action)
    assert isinstance(event, Ignored)
    assert len(event.reason) < 200


def test_one_on_an_issue_is_not() -> None:
    assert isinstance(said("/stager", pull_request=None), Ignored)


def test_a_bot_commands_nothing() -> None:
    assert isinstance(said("/stager", author="helper[bot]"), Ignored)


def test_a_deleted_account_is_called_ghost() -> None:
    event = said("/stager", author=None)
    assert isinstance(event, CommentAdded)
    assert event.author == "ghost"


def test_a_long_command_is_cut() -> None:
    event = said("/stager " + "x" * 65_000)
    assert isinstance(event, CommentAdded)
    assert len(event.text) == 2_000


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("check_suite", check("check_suite", "completed", conclusion="success")),
        ("check_run", check("check_run", "completed", conclusion="failure")),
        ("status", status("success")),
        ("status", status("error")),
    ],
)
def test_the_end_of_a_check_is_read(event: str, payload: dict[str, Any]) -> None:
    assert read(payload, event) == ChecksCompleted(REPOSITORY, SHA)


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("check_suite", check("check_suite", "requested")),
        ("check_run", check("check_run", "created")),
        ("status", status("pending")),
        ("status", status("success", "stager/shop")),
        ("status", status("success", sha=None)),
        ("check_run", check("check_run", "completed", head_sha="HEAD")),
    ],
)
def test_anything_else_of_a_check_has_no_effect(event: str, payload: dict[str, Any]) -> None:
    ignored = read(payload, event)
    assert isinstance(ignored, Ignored)
    assert ignored.repository == REPOSITORY


class TestSecretsOfApps:
    def test_a_delivery_of_any_of_them_passes(self) -> None:
        webhooks = GithubWebhooks("one", app_secrets=lambda: ["two", "three"])
        for secret in ("one", "two", "three"):
            assert received(webhooks, *signed("ping", {}, secret)).event == "ping"
        with pytest.raises(Refused) as refused:
            received(webhooks, *signed("ping", {}, "four"))
        assert (refused.value.status, refused.value.reason) == (401, "signature-wrong")

    def test_one_suffices(self) -> None:
        webhooks = GithubWebhooks("", app_secrets=lambda: ["two"])
        assert received(webhooks, *signed("ping", {}, "two")).event == "ping"
        with pytest.raises(Refused) as refused:
            received(webhooks, *signed("ping", {}, ""))
        assert refused.value.reason == "signature-wrong"

    def test_an_empty_one_is_none(self) -> None:
        webhooks = GithubWebhooks("", app_secrets=lambda: [""])
        with pytest.raises(Refused) as refused:
            received(webhooks, *signed("ping", {}, ""))
        assert refused.value.reason == "secret-not-configured"

    def test_an_apps_deliveries_need_no_credentials_and_others_do(self) -> None:
        webhooks = GithubWebhooks("one", "user", "password", app_secrets=lambda: ["two"])
        assert received(webhooks, *signed("ping", {}, "two")).event == "ping"
        with pytest.raises(Refused) as refused:
            received(webhooks, *signed("ping", {}, "one"))
        assert refused.value.reason == "credentials-missing"

    def test_they_are_read_each_time(self) -> None:
        secrets: list[str] = []
        webhooks = GithubWebhooks("one", app_secrets=lambda: secrets)
        secrets.append("two")
        assert received(webhooks, *signed("ping", {}, "two")).event == "ping"


def merge_group(action: str = "checks_requested", **fields: Any) -> dict[str, Any]:
    """As GitHub's docs have it, "Webhook events and payloads", `merge_group`."""
    group = {
        "head_sha": SHA,
        "head_ref": "refs/heads/gh-readonly-queue/main/pr-7-abc",
        "base_sha": "b" * 40,
        "base_ref": "refs/heads/main",
        "head_commit": {"id": SHA},
    }
    whose = {"id": SHOP.id, "name": REPOSITORY.name, "owner": {"login": REPOSITORY.owner}}
    return {"action": action, "merge_group": group, "repository": whose, **fields}


def test_a_merge_queue_s_commit_is_read() -> None:
    assert read(merge_group(), "merge_group") == MergeQueued(REPOSITORY, SHA)


@pytest.mark.parametrize(
    "payload",
    [
        merge_group("destroyed"),
        merge_group(merge_group={"head_sha": "../x"}),
        merge_group(merge_group=None),
        merge_group(repository=None),
    ],
)
def test_other_events_of_a_merge_queue_have_no_effect(payload: dict[str, Any]) -> None:
    assert isinstance(read(payload, "merge_group"), Ignored)
