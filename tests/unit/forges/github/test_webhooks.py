"""A delivery from its raw bytes to its event."""

from __future__ import annotations

import base64
import hmac
import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stager.domain.errors import Refused
from stager.domain.pull_requests.events import (
    AccessGranted,
    ChangeAction,
    ChangeEvent,
    Delivery,
    Event,
    Ignored,
)
from stager.domain.source import Repository, Trust
from stager.forges.github.webhooks.events import LARGEST_BODY, GithubWebhooks
from tests.doubles.github import GithubDouble, GithubPull, GithubRepository, received, signed

SECRET = "a secret"
WEBHOOKS = GithubWebhooks(SECRET)
GITHUB = GithubDouble()
REPOSITORY = GITHUB.add_repository("acme", "shop")


def pull_request(ref: str = "feature/x", **about: Any) -> GithubPull:
    return GITHUB.open_pull(REPOSITORY, ref, **about)


def sign(body: bytes) -> str:
    return "sha256=" + hmac.new(SECRET.encode(), body, "sha256").hexdigest()


def receive(body: bytes, **headers: str) -> Delivery:
    """Receive a delivery that is signed right."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return received(WEBHOOKS, {"x-hub-signature-256": sign(body), "x-github-event": "ping"} | given, body)


def read(payload: object, event: str = "pull_request") -> Event:
    return WEBHOOKS.read(Delivery("1", "github", event, json.dumps(payload)))


def seen(payload: object) -> ChangeEvent:
    event = read(payload)
    assert isinstance(event, ChangeEvent), event
    return event


def ignored(payload: object, event: str = "pull_request") -> Ignored:
    read_as = read(payload, event)
    assert isinstance(read_as, Ignored), read_as
    return read_as


# Receiving.


@pytest.mark.requirement("R68", "R76")
@pytest.mark.parametrize("form", [False, True])
def test_a_delivery_is_received_in_either_encoding(form: bool) -> None:
    payload = GITHUB.event("opened", pull_request(title="50 % off & a + b = ü"))
    headers, body = signed("pull_request", payload, SECRET, delivery_id="72d3162e", form=form)
    delivery = received(WEBHOOKS, headers, body)
    assert (delivery.id, delivery.forge, delivery.event) == ("72d3162e", "github", "pull_request")
    assert json.loads(delivery.payload) == payload


@pytest.mark.requirement("R76")
@pytest.mark.parametrize("form", [False, True])
def test_r76_json_that_says_the_same_in_other_bytes_is_refused(form: bool) -> None:
    headers, body = signed("pull_request", GITHUB.event("opened", pull_request()), SECRET, form=form)
    other = body.replace(b"%20", b" ") + b"\n"
    with pytest.raises(Refused) as caught:
        received(WEBHOOKS, headers, other)
    assert caught.value.status == 401


@pytest.mark.requirement("R76")
def test_r76_in_a_form_the_signature_is_of_the_encoded_bytes() -> None:
    payload = json.dumps(GITHUB.event("opened", pull_request()))
    body = f"payload={quote_plus(payload)}".encode()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-github-event": "pull_request",
        "x-hub-signature-256": sign(payload.encode()),
    }
    with pytest.raises(Refused) as caught:
        received(WEBHOOKS, headers, body)
    assert caught.value.reason == "signature-wrong"


@pytest.mark.requirement("R76")
def test_r76_an_unsigned_body_is_not_even_parsed() -> None:
    with pytest.raises(Refused) as caught:
        received(WEBHOOKS, {"x-github-event": "ping"}, b"{not json")
    assert caught.value.reason == "signature-missing"


@pytest.mark.requirement("R69", "R72")
def test_r69_credentials_are_demanded_besides_the_signature() -> None:
    webhooks = GithubWebhooks(SECRET, "hook", "password")
    headers, body = signed("ping", {"zen": "Design for failure."}, SECRET)
    with pytest.raises(Refused) as caught:
        received(webhooks, headers, body)
    assert (caught.value.status, caught.value.reason) == (401, "credentials-missing")
    right = {"authorization": "Basic " + base64.b64encode(b"hook:password").decode()}
    assert received(webhooks, headers | right, body).event == "ping"
    with pytest.raises(Refused) as caught:
        received(webhooks, headers | right, body + b" ")
    assert caught.value.reason == "signature-wrong"


def test_more_than_25_mb_is_refused() -> None:
    largest = b'{"a":"' + b"x" * (LARGEST_BODY - 8) + b'"}'
    assert receive(largest).event == "ping"
    with pytest.raises(Refused) as caught:
        receive(largest + b" ")
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'"text"', "application/json"),
        (b"null", ""),
        (b'{"a": "\xff"}', "application/json"),
        (b"\xef\xbb\xbf{}", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"a": ' + b"1" * 5000 + b"}", "application/json"),
        (b"{}", "application/x-www-form-urlencoded"),
        (b"payload=", "application/x-www-form-urlencoded"),
        (b"payload=[]", "application/x-www-form-urlencoded"),
        (b"payload=%ff", "application/x-www-form-urlencoded"),
        (b"payload={}&payload={}", "application/x-www-form-urlencoded; charset=utf-8"),
        (b"&".join([b"a=1"] * 200), "Application/X-WWW-Form-Urlencoded"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(Refused) as caught:
        receive(body, content_type=content_type)
    assert (caught.value.status, caught.value.reason) == (400, "delivery-unreadable")


@pytest.mark.parametrize(
    "headers",
    [
        {"x_github_event": ""},
        {"x_github_event": "x" * 101},
        {"x_github_event": "pull\nrequest"},
        {"x_github_delivery": "1" * 101},
        {"x_github_delivery": "é"},
        {"x_github_delivery": "a\x00b"},
    ],
)
def test_headers_that_cannot_be_kept_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        receive(b"{}", **headers)
    assert caught.value.status == 400


def test_without_an_id_a_repetition_is_still_recognised() -> None:
    first = receive(b'{"a": 1}')
    assert receive(b'{"a": 1}').id == first.id
    assert receive(b'{"a": 2}').id != first.id
    assert receive(b'{"a": 1}', x_github_event="push").id != first.id


header_text = st.text(st.characters(codec=None), max_size=120)
headers_of_any_kind = st.dictionaries(
    st.sampled_from(
        [
            "authorization",
            "content-type",
            "x-github-delivery",
            "x-github-event",
            "x-hub-signature",
            "x-hub-signature-256",
        ]
    ),
    header_text | st.sampled_from(["application/x-www-form-urlencoded", "Basic aG9vazpwYXNz", "ping"]),
)


@given(headers=headers_of_any_kind, body=st.binary(max_size=200))
def test_whatever_is_sent_is_refused_unless_it_is_signed(headers: dict[str, str], body: bytes) -> None:
    for webhooks in (WEBHOOKS, GithubWebhooks(SECRET, "hook", "pass"), GithubWebhooks("")):
        with pytest.raises(Refused):
            received(webhooks, headers, body)


@given(headers=headers_of_any_kind, body=st.binary(max_size=200) | st.just(b"{}"))
def test_whatever_is_signed_is_received_or_refused(headers: dict[str, str], body: bytes) -> None:
    with suppress(Refused):
        delivery = received(WEBHOOKS, headers | {"x-hub-signature-256": sign(body)}, body)
        assert isinstance(json.loads(delivery.payload), dict)


# Reading.


@pytest.mark.requirement("R65", "R68")
@pytest.mark.parametrize("action", list(ChangeAction))
def test_a_pull_request_is_read(action: ChangeAction) -> None:
    pull = pull_request("feature/login-form", title="Log in", author="mona")
    event = seen(GITHUB.event(action, pull))
    change = event.change
    assert (event.action, event.app) == (action, "")
    assert change.repository == Repository(f"github:{REPOSITORY.id}", "acme", "shop")
    assert (change.number, change.head_ref, change.head_sha) == (pull.number, "feature/login-form", pull.sha)
    assert (change.base_ref, change.title, change.author) == ("main", "Log in", "mona")
    assert change.url.endswith(f"/acme/shop/pull/{pull.number}")
    assert (change.updated_at, change.is_open, change.trust) == (pull.updated_at, True, Trust.TRUSTED)


@pytest.mark.parametrize("action", ["labeled", "unlabeled", "ready_for_review", "converted_to_draft"])
def test_whatever_rules_may_look_at_is_an_edit(action: str) -> None:
    assert seen(GITHUB.event(action, pull_request())).action is ChangeAction.EDITED


def test_an_edit_of_what_is_closed_says_that_it_is() -> None:
    pull = pull_request()
    GITHUB.close(pull)
    assert seen(GITHUB.event("labeled", pull)).action is ChangeAction.CLOSED


@pytest.mark.requirement("R93")
def test_r93_a_push_has_the_head_that_it_replaced() -> None:
    pull = pull_request()
    before = GITHUB.push(pull, "b" * 40)
    change = seen(GITHUB.event("synchronize", pull, before=before)).change
    assert (change.head_before, change.head_sha) == (before, "b" * 40)


@pytest.mark.requirement("R92")
@pytest.mark.parametrize("merged", [True, False])
def test_r92_a_close_is_read_merged_or_not(merged: bool) -> None:
    pull = pull_request()
    GITHUB.close(pull, merged=merged)
    change = seen(GITHUB.event("closed", pull)).change
    assert (change.is_open, change.merged) == (False, merged)


@pytest.mark.requirement("R124")
def test_r124_the_code_of_a_fork_is_distinguished_from_our_own() -> None:
    fork = GithubRepository(REPOSITORY.id + 10**6, "stranger", "shop")
    change = seen(GITHUB.event("opened", pull_request(fork=fork))).change
    assert change.head_repository == Repository(f"github:{fork.id}", "stranger", "shop")
    assert change.trust is Trust.FORK


@pytest.mark.requirement("R92", "R124")
def test_a_deleted_fork_is_read_and_is_not_trusted() -> None:
    pull = pull_request()
    pull.head = None
    change = seen(GITHUB.event("closed", pull)).change
    assert change.head_repository is None
    assert change.trust is Trust.FORK


def test_what_rules_look_at_is_read() -> None:
    pull = pull_request(author="renovate[bot]")
    pull.labels, pull.draft, pull.body = ["preview", "größer"], True, "Adds a button.\r\n\nstager: no"
    change = seen(GITHUB.event("opened", pull)).change
    assert (change.labels, change.draft, change.author_is_bot) == (("preview", "größer"), True, True)
    assert change.description == "Adds a button.\r\n\nstager: no"


def test_a_long_description_is_cut() -> None:
    pull = pull_request()
    pull.body = "x" * 65_536
    assert len(seen(GITHUB.event("opened", pull)).change.description) == 20_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", None),
        ("labels", "preview"),
        ("labels", [None, 7, {}, {"name": None}, {"name": ""}]),
        ("draft", None),
        ("draft", "yes"),
        ("body", None),
        ("body", 7),
    ],
)
def test_what_rules_look_at_may_be_missing_or_odd(field: str, value: object) -> None:
    payload = GITHUB.event("opened", pull_request())
    payload["pull_request"][field] = value
    change = seen(payload).change
    assert (change.labels, change.draft, change.description) == ((), False, "")
    del payload["pull_request"][field]
    assert seen(payload).change == change


def test_a_deleted_author_is_called_ghost() -> None:
    assert seen(GITHUB.event("opened", pull_request(author=None))).change.author == "ghost"


@pytest.mark.parametrize("title", ["", "日本語 🚀", "a\u202eb", "<script>", "x" * 5000, "line\nline"])
def test_any_title_is_kept(title: str) -> None:
    assert seen(GITHUB.event("opened", pull_request(title=title))).change.title == title


@pytest.mark.parametrize("title", ["a\ud800b", "a\0b"])
def test_a_title_that_cannot_be_stored_becomes_one_that_can(title: str) -> None:
    payload = GITHUB.event("opened", pull_request(title=title))
    headers, body = signed("pull_request", payload, SECRET)
    event = WEBHOOKS.read(received(WEBHOOKS, headers, body))
    assert isinstance(event, ChangeEvent)
    assert event.change.title == "a?b"


def test_a_delivery_is_read_without_what_only_some_editions_send() -> None:
    payload = GITHUB.event("opened", pull_request())
    del payload["number"], payload["sender"], payload["pull_request"]["merged_at"]
    payload["pull_request"] |= {"merged": None, "updated_at": "2026-01-01T00:00:00", "title": None}
    change = seen(payload).change
    assert change.updated_at.tzinfo is not None
    assert not change.merged


@pytest.mark.parametrize("ref", ["-rf", "日本", "default", "a/b/c", "x" * 200, "$(reboot)", "a'b\"c;d"])
def test_any_ref_that_git_allows_is_read(ref: str) -> None:
    assert seen(GITHUB.event("opened", pull_request(ref, sha="a" * 40))).change.head_ref == ref


@pytest.mark.requirement("R74")
@pytest.mark.parametrize("event", ["ping", "push", "issues", "repository", "delete", "", "a new one"])
def test_r74_every_other_event_has_no_effect(event: str) -> None:
    payload = GITHUB.event("opened", pull_request())
    assert ignored(payload, event) == Ignored(
        f"event {event} has no effect", Repository(f"github:{REPOSITORY.id}", "acme", "shop")
    )
    assert ignored({"zen": "Keep it logically awesome."}, event).repository is None


@pytest.mark.parametrize(
    ("event", "action", "read"),
    [
        ("installation", "created", AccessGranted()),
        ("installation", "unsuspend", AccessGranted()),
        ("installation_repositories", "added", AccessGranted()),
        ("installation", "deleted", Ignored("installation grants no access")),
        ("installation_repositories", "removed", Ignored("installation_repositories grants no access")),
        ("installation", None, Ignored("installation grants no access")),
    ],
)
def test_an_installation_of_the_app_gives_access(event: str, action: str | None, read: Event) -> None:
    headers, body = signed(event, {"action": action, "installation": {"id": 1}}, SECRET)
    assert WEBHOOKS.read(received(WEBHOOKS, headers, body)) == read


@pytest.mark.requirement("R74")
@pytest.mark.parametrize("action", ["assigned", "locked", "enqueued", "stacked", "", "x" * 9999])
def test_r74_every_other_action_has_no_effect(action: str) -> None:
    event = ignored(GITHUB.event(action, pull_request()))
    assert "has no effect" in event.reason
    assert len(event.reason) < 200
    assert event.repository is not None


@pytest.mark.parametrize("action", [None, 1, [], {}, ["opened"], {"opened": 1}])
def test_an_action_of_another_type_has_no_effect(action: object) -> None:
    payload = GITHUB.event("opened", pull_request()) | {"action": action}
    assert "has no effect" in ignored(payload).reason


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pull_request", None),
        ("pull_request", []),
        ("pull_request.number", 0),
        ("pull_request.number", "seven"),
        ("pull_request.state", "draft"),
        ("pull_request.updated_at", "yesterday"),
        ("pull_request.html_url", "javascript:alert(1)"),
        ("pull_request.head", None),
        ("pull_request.head.sha", "HEAD"),
        ("pull_request.head.sha", "a" * 39 + "\n"),
        ("pull_request.head.ref", ""),
        ("pull_request.head.ref", "a\x00b"),
        ("pull_request.base.repo", None),
        ("pull_request.base.repo.owner", None),
        ("pull_request.base.repo.id", {}),
    ],
)
def test_a_malformed_pull_request_has_no_effect_and_the_reason_says_where(path: str, value: object) -> None:
    payload = json.loads(json.dumps(GITHUB.event("opened", pull_request())))
    *parents, last = path.split(".")
    server = payload
    for parent in parents:
        server = server[parent]
    server[last] = value
    assert f"{path}: " in ignored(payload).reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
PATHS = [
    "action",
    "before",
    "pull_request",
    "repository",
    "number",
    "issue",
    "comment",
    "check_run",
    "check_suite",
    "sha",
    "state",
    "context",
    "merge_group",
]
PULL_PATHS = [
    "number",
    "state",
    "title",
    "user",
    "html_url",
    "updated_at",
    "head",
    "base",
    "merged",
    "merged_at",
    "body",
    "labels",
    "draft",
]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    event=st.sampled_from(
        ["pull_request", "push", "issue_comment", "check_run", "check_suite", "status", "merge_group"]
    ),
    changes=st.dictionaries(st.sampled_from(PATHS), json_values),
    pull_changes=st.dictionaries(st.sampled_from(PULL_PATHS), json_values),
)
def test_reading_never_raises(
    event: str, changes: dict[str, object], pull_changes: dict[str, object]
) -> None:
    pull = pull_request()
    comment = GITHUB.add_comment(pull, "/stager")
    payload = GITHUB.event("synchronize", pull) | GITHUB.comment_event("created", pull, comment)
    payload["pull_request"] |= pull_changes
    read(payload | changes, event)


@given(st.text())
def test_reading_what_is_not_json_never_raises(payload: str) -> None:
    assert isinstance(WEBHOOKS.read(Delivery("1", "github", "pull_request", payload)), Ignored)
