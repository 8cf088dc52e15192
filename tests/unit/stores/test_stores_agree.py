"""Random transactions against both stores: they answer alike, step by step, and hold the same in the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.domain.attempt import Attempt
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
from stager.domain.identity.accounts import ShareLink
from stager.domain.pull_requests.events import Delivery
from stager.domain.source import Change, Repository, Revision, Trust
from stager.ports.store import StateKind, Store, Transaction
from stager.stores.sqlite.database import prepare
from stager.stores.sqlite.store import SqliteStore
from stager.testing import MemoryStore
from tests.contracts.store_samples import later
from tests.length import length

# Few ids, hosts and times, so that transactions meet one another; any text that UTF-8 can carry besides.
IDS = ["a", "b"]
HOSTS = ["x.test", "y.test"]
NUMBERS = [1, 2]
KINDS = [StateKind.PIN, StateKind.NOTE]
MOMENTS = [later(minutes) for minutes in (-1, 0, 1)]


def with_run(desired: Desired, run: RunState, suspension: Suspension) -> Desired:
    return replace(desired, run=run, suspension=suspension if run is RunState.SUSPENDED else None)


ids = st.sampled_from(IDS)
numbers = st.sampled_from(NUMBERS)
moments = st.sampled_from(MOMENTS)
texts = st.text(st.characters(codec="utf-8"), max_size=5)
keys = st.builds(EnvironmentKey, ids, ids)
revisions = st.builds(Revision, texts, texts)
kinds = st.sampled_from(["refused", "retry", "fault"])

environments = st.builds(
    Environment,
    id=ids,
    key=keys,
    name=texts,
    host=st.sampled_from(HOSTS),
    desired=st.builds(
        with_run,
        st.builds(
            Desired,
            st.just(RunState.RUNNING),
            generation=numbers,
            revision=revisions,
            parameters=st.dictionaries(texts, texts, max_size=2),
            trust=st.sampled_from(Trust),
        ),
        st.sampled_from(RunState),
        st.builds(Suspension, st.sampled_from(SuspensionReason), texts, texts),
    ),
    created_at=moments,
    updated_at=moments,
    change=st.none() | st.builds(ChangeLink, *[texts] * 3, numbers, *[texts] * 4),
    comment_id=texts,
    serving=st.none() | numbers,
)
# Not those of places: what their clocks skip or show twice equals no time elsewhere (PEP 495).
YEARS = datetime(1900, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 (each draw gives them a zone)
zones = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
attempts = st.builds(
    Attempt,
    generation=numbers,
    failures=numbers,
    retry_at=st.none() | st.datetimes(*YEARS, timezones=zones),
    outcome=st.none() | st.builds(Outcome, kinds, *[texts] * 4),
    final=st.booleans(),
    healthy_runs=st.dictionaries(texts, texts, max_size=2),
)
deployments = st.builds(Deployment, ids, ids, revisions, attempts, moments, texts, *[st.none() | moments] * 4)
deliveries = st.builds(Delivery, id=ids, forge=st.just("github"), event=texts, payload=texts)
links = st.builds(ShareLink, ids, ids, texts, texts, moments, moments, st.none() | moments)
repositories = st.builds(Repository, ids, texts, texts)
changes = st.builds(
    Change,
    repository=repositories,
    number=numbers,
    is_open=st.booleans(),
    head_sha=texts,
    head_ref=texts,
    head_repository=st.none() | repositories,
    base_ref=texts,
    title=texts,
    author=texts,
    url=texts,
    updated_at=moments,
    merged=st.booleans(),
    head_before=texts,
)


@dataclass(frozen=True)
class Step:
    """A call of one of the transaction's methods."""

    method: str
    arguments: tuple[object, ...]

    def take(self, tx: Transaction) -> object:
        """What it answers; ValueError where it refuses."""
        try:
            return getattr(tx, self.method)(*self.arguments)
        except ValueError:
            return ValueError


def calls(method: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(method), st.tuples(*arguments))


steps = st.one_of(
    calls("save_environment", environments),
    calls("save_environment", environments),
    calls("save_deployment", deployments),
    calls("save_deployment", deployments),
    calls("add_delivery", deliveries, moments),
    calls("next_delivery"),
    calls("begin_delivery", deliveries),
    calls("release_delivery", deliveries),
    calls("finish_delivery", deliveries, texts, moments),
    calls("set_delivery_aside", deliveries, texts, moments),
    calls("mark_processed", ids, ids, moments),
    calls("save_change", changes),
    calls("save_repository", ids, repositories),
    calls("save_fact", ids, texts),
    calls("save_service_hosts", ids, st.dictionaries(ids, st.sampled_from(HOSTS), max_size=1)),
    calls("save_environment_state", ids, st.sampled_from(KINDS), st.sampled_from(["", "x", "y"])),
    calls("save_share_link", links),
    calls("delete_expired", moments),
)


class UndoError(Exception):
    """Ends a transaction that is to leave nothing."""


@dataclass(frozen=True)
class Work:
    """One transaction."""

    steps: list[Step]
    fails: bool

    async def run(self, store: Store) -> list[object]:
        """What each of its steps answered."""
        answers: list[object] = []

        def work(tx: Transaction) -> None:
            answers.extend(step.take(tx) for step in self.steps)
            if self.fails:
                raise UndoError

        if self.fails:
            with pytest.raises(UndoError):
                await store.write(work)
        else:
            await store.write(work)
        return answers


def picture(tx: Transaction) -> dict[str, object]:
    """All that can be asked of a store."""
    return {
        "environments": [tx.environments(present=present) for present in (None, True, False)],
        "pairs": [tx.environments_with_deployments(present=present) for present in (None, True, False)],
        "being served": tx.environments_being_served(),
        "service hosts": [tx.all_service_hosts(), *(tx.service_hosts(i) for i in IDS)],
        "state": [tx.environment_state(i, kind) for i in IDS for kind in KINDS],
        "links": tx.all_share_links(),
        "by id": [tx.environment(i) for i in IDS],
        "by key": [tx.environment_by_key(EnvironmentKey(app, subject)) for app in IDS for subject in IDS],
        "of": [tx.environments_of(subject) for subject in IDS],
        "by host": [tx.environment_by_host(host) for host in HOSTS],
        "deployment": [tx.deployment(i) for i in IDS],
        "deployments": [tx.deployments(i) for i in IDS],
        "all deployments": sorted(tx.all_deployments(), key=lambda d: d.id),
        "deployment of": [tx.deployment_of(i, n) for i in IDS for n in NUMBERS],
        "next delivery": tx.next_delivery(),
        "acted on": [tx.is_processed(i, event) for i in IDS for event in IDS],
        "set aside": tx.deliveries_set_aside(),
        "recent deliveries": tx.recent_deliveries(9),
        "refused deliveries": tx.refused_deliveries(),
        "changes": [tx.change(i, n) for i in IDS for n in NUMBERS],
        "open changes": [tx.open_changes(i) for i in IDS],
        "repositories": tx.repositories(),
        "facts": [tx.fact(i) for i in IDS],
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], SqliteStore]]:
    """Makes new stores by copying one empty database."""
    empty = tmp_path_factory.mktemp("empty") / "stager.db"
    prepare(empty)
    with tempfile.TemporaryDirectory() as directory:

        def make() -> SqliteStore:
            path = Path(directory) / "stager.db"
            for file in Path(directory).iterdir():
                file.unlink()
            return SqliteStore(Path(shutil.copy(empty, path)))

        yield make


works = st.builds(
    Work, st.lists(steps, min_size=1, max_size=12), st.sampled_from([False, False, False, True])
)


@length(40)
@given(transactions=st.lists(works, min_size=1, max_size=8))
async def test_stores_agree(fresh: Callable[[], SqliteStore], transactions: list[Work]) -> None:
    real, fake = fresh(), MemoryStore()
    try:
        for work in transactions:
            assert await work.run(real) == await work.run(fake)
            assert await real.read(picture) == await fake.read(picture)
    finally:
        await real.close()
