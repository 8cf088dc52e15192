"""What anybody may send to where webhooks arrive: it is taken or refused, never a mistake of ours; what isn't
signed changes nothing, and what is leaves nothing half done."""

from __future__ import annotations

import asyncio
import hmac
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stager.control.environments.expiry import TIME
from stager.domain.pull_requests.events import ChangeEvent, Delivery
from stager.forges.github.webhooks.events import GithubWebhooks
from stager.stores.sqlite.store import SqliteStore, open_store
from tests.doubles.github import GithubComment, GithubDouble
from tests.fuzz.junk import JUNK, damaged, mutated, written
from tests.fuzz.stage import Stage, quiet, staged
from tests.length import length
from tests.unit.web.harness import SECRET

GITHUB = GithubDouble()
SHOP, FORK = GITHUB.add_repository("acme", "shop"), GITHUB.add_repository("eve", "shop")
PULLS = [GITHUB.open_pull(SHOP, "x"), GITHUB.open_pull(SHOP, "x", fork=FORK, author=None)]
REPOSITORY = GITHUB.event("opened", PULLS[0])["repository"]
ACTIONS = ["opened", "synchronize", "reopened", "closed", "edited", "labeled", "unlabeled", "assigned"]


def _told(action: str, number: int, at: int) -> dict[str, Any]:
    """A pull request as reported in this second."""
    payload: dict[str, Any] = GITHUB.event(action, PULLS[number], before="ab" * 20)
    payload["pull_request"] |= {
        "state": "closed" if action == "closed" else "open",
        "updated_at": f"2026-01-01T00:00:{at:02}Z",
        "head": payload["pull_request"]["head"] | {"sha": f"{at:02}" * 20},
    }
    return payload


def _said(body: str, author: str | None) -> dict[str, Any]:
    return GITHUB.comment_event("created", PULLS[0], GithubComment(1, author, body))


def _with(**changed: Any) -> tuple[str, bytes]:
    payload = _told("opened", 0, 1)
    payload["pull_request"] |= changed
    return "pull_request", written(payload)


def _checked(kind: str, state: str) -> dict[str, Any]:
    return {"action": state, kind: {"head_sha": "05" * 20}, "repository": REPOSITORY}


PULL_REQUESTS = st.builds(_told, st.sampled_from(ACTIONS), st.integers(0, 1), st.integers(0, 59))
COMMENTS = st.builds(
    _said,
    st.sampled_from(
        ["/stager launch", "/stager", "/stager approve 0505", f"/stager approve {'05' * 20}", "hello"]
    )
    | st.text(max_size=20),
    st.sampled_from(["octocat", "stager[bot]", None]),
)
CHECKS = st.builds(
    _checked, st.sampled_from(["check_run", "check_suite"]), st.sampled_from(["completed", "created"])
)
STATUSES = st.just({"sha": "05" * 20, "state": "success", "context": "ci", "repository": REPOSITORY})
GOOD = st.one_of(
    PULL_REQUESTS.map(lambda payload: ("pull_request", payload)),
    COMMENTS.map(lambda payload: ("issue_comment", payload)),
    CHECKS.map(lambda payload: ("check_run", payload)),
    STATUSES.map(lambda payload: ("status", payload)),
)
KINDS = st.sampled_from(["pull_request", "issue_comment", "check_suite", "check_run", "status", "ping"])
"""What a delivery may be called; what is called otherwise than it is, is one more kind of nonsense."""


def _mutated(one: tuple[str, dict[str, Any]]) -> st.SearchStrategy[tuple[str, bytes]]:
    kind, payload = one
    return st.tuples(st.just(kind) | KINDS, mutated(st.just(payload)).map(written))


NEARLY_GOOD = GOOD.flatmap(_mutated)
BODIES = st.one_of(
    NEARLY_GOOD,
    NEARLY_GOOD,
    st.tuples(KINDS, JUNK.map(written)),
    st.tuples(KINDS | st.text(max_size=8), damaged(GOOD.map(lambda one: written(one[1])))),
    st.tuples(KINDS, st.binary(max_size=60)),
    st.tuples(KINDS, st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b'{"id": ' + b"9" * 5_000 + b"}"])),
)
MEDIA_TYPES = st.sampled_from(
    ["application/json"] * 6
    + [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
    ]
)
HEADERS = st.fixed_dictionaries(
    {"content-type": MEDIA_TYPES},
    optional={
        "x-github-delivery": st.sampled_from(["1", "", "a b", "é", "x" * 200]),
        "authorization": st.sampled_from(["Basic", "Basic x", "Basic Og==", "Bearer é"]),
    },
)
PATHS = st.sampled_from(["/event_receiver", "/webhooks/github"])


def signed(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


@pytest.fixture(scope="module", name="stage")
def opened_stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


async def deliver(stage: Stage, path: str, body: bytes, headers: dict[str, str]) -> int:
    """Deliver it and wait until all is at rest; the status that it was answered with."""
    encoded = [(name.encode(), value.encode("utf-8", "replace")) for name, value in headers.items()]
    answer = await stage.web.client.post(path, content=body, headers=encoded)
    assert answer.status_code < 500, answer.text
    await stage.web.harness.rest(61)
    return answer.status_code


@length(100)
@given(PATHS, BODIES, HEADERS)
def test_what_is_signed_is_taken_or_refused(
    stage: Stage, path: str, delivery: tuple[str, bytes], headers: dict[str, str]
) -> None:
    kind, body = delivery
    stage.next_case()
    harness = stage.web.harness
    before = len(harness.store._tables.receipts)
    with quiet():
        status = stage.run(
            deliver(
                stage, path, body, {"x-github-event": kind, "x-hub-signature-256": signed(body), **headers}
            )
        )
    tables = harness.store._tables
    assert (status == 202) or len(tables.receipts) == before
    assert all(receipt.finished_at for receipt in tables.receipts.values())
    assert not [r.outcome for r in tables.receipts.values() if r.outcome.startswith("failed")]
    for environment in tables.environments.values():
        wanted = environment.desired
        known = [d for d in tables.deployments.values() if d.environment_id == environment.id]
        assert wanted.generation in {d.generation for d in known} or not wanted.should_run


FORGERIES = st.one_of(
    st.none(),
    st.text(max_size=80),
    st.sampled_from(["sha256=", "sha1=" + "0" * 40, "sha256=é", signed(b"", "")]),
    st.builds(signed, st.binary(max_size=8)),
)


@length(100)
@given(PATHS, GOOD, FORGERIES, FORGERIES, HEADERS)
def test_what_isnt_signed_changes_nothing(
    stage: Stage,
    path: str,
    delivery: tuple[str, dict[str, Any]],
    strong: str | None,
    weak: str | None,
    headers: dict[str, str],
) -> None:
    kind, payload = delivery
    stage.next_case()
    given_ = {"x-hub-signature-256": strong, "x-hub-signature": weak}
    all_headers = {"x-github-event": kind, **headers, **{n: v for n, v in given_.items() if v is not None}}
    before = _all_but_the_count(stage)
    with quiet():
        assert stage.run(deliver(stage, path, written(payload), all_headers)) in {400, 401, 404}
    assert _all_but_the_count(stage) == before


def _all_but_the_count(stage: Stage) -> str:
    """Everything stored, besides how many deliveries were refused and for how long Stager has run."""
    tables = stage.web.harness.store._tables
    return repr(replace(tables, refused={}, facts={**tables.facts, TIME: ""}))


@pytest.fixture(scope="module", name="store")
def opened_store() -> Iterator[tuple[asyncio.AbstractEventLoop, SqliteStore]]:
    """A real database, and the loop that it is asked on."""
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        store = loop.run_until_complete(open_store(Path(folder) / "stager.db"))
        yield loop, store
        loop.run_until_complete(store.close())
    loop.close()


@length(150)
@given(NEARLY_GOOD)
@example(_with(number=2**63))
@example(_with(number=10**300))
@example(_with(updated_at="0001-01-01T00:00:00+14:00"))
@example(_with(updated_at="9999-12-31T23:59:59-14:00"))
@example(_with(updated_at=10**12))
@example(_with(user={"login": "\0"}))
@example(_with(head={"ref": "x\n", "sha": "ab" * 20}))
@example(_with(title="\0\ud800"))
def test_what_is_read_can_be_kept(
    store: tuple[asyncio.AbstractEventLoop, SqliteStore], delivery: tuple[str, bytes]
) -> None:
    """Whatever is understood of a delivery comes out of the database as it went in."""
    loop, database = store
    kind, body = delivery
    event = GithubWebhooks(SECRET).read(Delivery("1", "github", kind, body.decode()))
    assert f"{event}".encode(), "and it can be told to people"
    if not isinstance(event, ChangeEvent):
        return
    change = event.change
    loop.run_until_complete(database.write(lambda tx: tx.save_change(change)))
    assert (
        loop.run_until_complete(database.read(lambda tx: tx.change(change.repository.id, change.number)))
        == change
    )
