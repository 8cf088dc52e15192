"""What the SQLite store promises beyond the contract: its threads, its indexes, the end of the process."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from stager.domain.errors import Fault, Retry
from stager.ports.store import StateKind, Transaction
from stager.stores.sqlite.store import SqliteStore, open_store
from stager.stores.sqlite.transaction import SqliteTransaction
from tests.contracts.store_samples import (
    BASE,
    NOON,
    change,
    delivery,
    deployment,
    environment,
    link,
    session,
    token,
)

ROOT = Path(__file__).parents[3]
SECONDS = 10
"""How long a thread waits for the other side before the test fails."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stager.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = await open_store(path, busy_timeout=0.05)
    yield opened
    await opened.close()


class Gate:
    """Holds a transaction's thread at a point until the test lets it go on."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def pass_through(self) -> None:
        self._reached.set()
        assert self._opened.wait(SECONDS)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, SECONDS)

    def open(self) -> None:
        self._opened.set()


class TestThreads:
    async def test_a_read_is_consistent_while_others_write(self, store: SqliteStore) -> None:
        gate = Gate()

        def look_twice(tx: Transaction) -> tuple[str, str]:
            before = tx.fact("domain")
            gate.pass_through()
            return before, tx.fact("domain")

        looking = asyncio.create_task(store.read(look_twice))
        await gate.reached()
        await store.write(lambda tx: tx.save_fact("domain", "a.test"))
        gate.open()

        assert await looking == ("", "")
        assert await store.read(lambda tx: tx.fact("domain")) == "a.test"

    async def test_a_read_does_not_wait_for_a_write(self, store: SqliteStore) -> None:
        gate = Gate()

        def save_slowly(tx: Transaction) -> None:
            tx.save_fact("domain", "a.test")
            gate.pass_through()

        saving = asyncio.create_task(store.write(save_slowly))
        await gate.reached()
        assert await store.read(lambda tx: tx.fact("domain")) == ""
        gate.open()
        await saving

    async def test_a_cancelled_write_that_has_begun_is_committed_whole(self, store: SqliteStore) -> None:
        gate = Gate()

        def work(tx: Transaction) -> None:
            tx.save_fact("one", "x")
            gate.pass_through()
            tx.save_fact("two", "x")

        begun = asyncio.create_task(store.write(work))
        queued = asyncio.create_task(store.write(lambda tx: tx.save_fact("three", "x")))
        await gate.reached()
        for task in (begun, queued):
            task.cancel()
        await asyncio.gather(begun, queued, return_exceptions=True)
        gate.open()

        facts = await store.write(lambda tx: [tx.fact(name) for name in ("one", "two", "three")])
        assert facts == ["x", "x", ""]

    async def test_closing_waits_for_earlier_calls(self, store: SqliteStore, path: Path) -> None:
        gate = Gate()

        def save_slowly(tx: Transaction) -> None:
            gate.pass_through()
            tx.save_fact("one", "x")

        saving = asyncio.create_task(store.write(save_slowly))
        queued = asyncio.create_task(store.write(lambda tx: tx.save_fact("two", "x")))
        await gate.reached()
        closing_it = asyncio.create_task(store.close())
        await asyncio.sleep(0.05)
        assert not closing_it.done()
        gate.open()
        await asyncio.gather(saving, queued, closing_it)

        again = await open_store(path)
        assert await again.read(lambda tx: (tx.fact("one"), tx.fact("two"))) == ("x", "x")
        await again.close()


class TestEndings:
    async def test_another_process_that_writes_makes_a_write_retry(
        self, store: SqliteStore, path: Path
    ) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Retry) as raised:
                await store.write(lambda tx: tx.save_fact("domain", "a.test"))
            assert raised.value.reason == "database-busy"
            assert await store.read(lambda tx: tx.fact("domain")) == ""
            other.execute("ROLLBACK")

        await store.write(lambda tx: tx.save_fact("domain", "a.test"))
        assert await store.read(lambda tx: tx.fact("domain")) == "a.test"

    async def test_a_write_has_the_database_to_itself(self, store: SqliteStore, path: Path) -> None:
        gate = Gate()

        def work(tx: Transaction) -> None:
            seen = tx.fact("count")
            gate.pass_through()
            tx.save_fact("count", f"{seen}+1")

        writing = asyncio.create_task(store.write(work))
        await gate.reached()
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("INSERT INTO facts VALUES ('count', '100')")
            gate.open()
            await writing
        assert await store.read(lambda tx: tx.fact("count")) == "+1"

    async def test_a_full_disk_makes_a_write_retry_and_leaves_nothing_of_it(self, store: SqliteStore) -> None:
        def limit(tx: SqliteTransaction) -> None:
            tx._connection.execute("PRAGMA max_page_count = 60")

        def work(tx: Transaction) -> None:
            tx.save_fact("domain", "a.test")
            tx.add_delivery(delivery(payload="x" * 1_000_000), NOON)

        await store.write(limit)
        with pytest.raises(Retry) as raised:
            await store.write(work)
        assert raised.value.reason == "database-disk-full"

        await store.write(lambda tx: tx.save_fact("scheme", "https"))
        assert await store.read(lambda tx: (tx.fact("domain"), tx.fact("scheme"))) == ("", "https")

    async def test_damage_that_shows_later_is_a_fault(self, store: SqliteStore, path: Path) -> None:
        for number in range(200):
            await store.write(lambda tx, n=number: tx.add_delivery(delivery(n), NOON))  # type: ignore[misc]
        await store.close()
        damaged = SqliteStore(path)
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))

        with pytest.raises(Fault) as raised:
            await damaged.read(lambda tx: tx.next_delivery())
        await damaged.close()
        assert raised.value.reason == "database-broken"


class TestIndexes:
    @pytest.fixture
    async def statements(self, store: SqliteStore) -> list[str]:
        """The statements of all later transactions, with their values."""
        seen: list[str] = []

        def note(tx: SqliteTransaction) -> None:
            tx._connection.set_trace_callback(lambda statement: seen.append(statement.strip()))

        await store.read(note)
        await store.write(note)
        seen.clear()
        return seen

    async def test_what_happens_often_never_scans_a_table(
        self, store: SqliteStore, path: Path, statements: list[str]
    ) -> None:
        def often(tx: Transaction) -> None:
            tx.save_environment(environment())
            tx.environment("env1")
            tx.environment_by_key(environment().key)
            tx.environment_by_host("h1.preview.test")
            tx.environments_of(environment().key.subject)
            tx.environment_by_host("unknown.preview.test")
            tx.save_deployment(deployment())
            tx.deployment("dep1")
            tx.deployment_of("env1", 1)
            tx.deployments("env1")
            tx.add_delivery(delivery(), NOON)
            tx.next_delivery()
            tx.begin_delivery(delivery())
            tx.release_delivery(delivery())
            tx.finish_delivery(delivery(), "done", NOON)
            tx.save_environment_state("env1", StateKind.PIN, "x")
            tx.environment_state("env1", StateKind.PIN)
            tx.save_environment_state("env1", StateKind.PIN, "")
            tx.save_session(session())
            tx.session("d1")
            tx.delete_session("s1")
            tx.save_token(token())
            tx.token("d1")
            tx.save_share_link(link())
            tx.share_link("l1")
            tx.save_service_hosts("env1", {"api": "api--h1.test"})
            tx.service_hosts("env1")
            tx.mark_processed("github:10", "7", NOON)
            tx.is_processed("github:10", "7")
            tx.save_change(change())
            tx.change("github:10", 7)
            tx.open_changes("github:10")
            tx.save_repository("shop", BASE)
            tx.save_fact("domain", "a.test")
            tx.fact("domain")

        await store.write(often)

        with closing(sqlite3.connect(path)) as connection:
            inner = [each for each in statements if not each.startswith(("BEGIN", "COMMIT"))]
            for statement in inner:
                plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                steps = " ".join(step[3] for step in plan)
                assert "SCAN" not in steps, (statement, steps)
                assert "TEMP B-TREE" not in steps, (statement, steps)
        assert len(inner) == 47

    async def test_a_listing_finds_deployments_by_index(
        self, store: SqliteStore, path: Path, statements: list[str]
    ) -> None:
        await store.read(lambda tx: [tx.environments_with_deployments(), tx.environments_being_served()])

        queries = [each for each in statements if each.startswith("SELECT")]
        assert len(queries) == 2
        with closing(sqlite3.connect(path)) as connection:
            for statement in queries:
                plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                steps = " ".join(step[3] for step in plan)
                assert "SEARCH deployments USING INDEX" in steps, (statement, steps)


WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from tests.contracts.store_samples import NOON, delivery, environment
from stager.stores.sqlite.store import open_store

async def main(path, first):
    store = await open_store(path)
    for number in itertools.count(first):
        def work(tx):
            tx.add_delivery(delivery(number), NOON)
            tx.save_environment(environment(number))
        await store.write(work)
        print(number, flush=True)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def killed_while_writing(path: Path, first: int, at_least: int) -> list[int]:
    """Let a process write numbers from `first` on, kill it, and return those that it reported committed."""
    command = [sys.executable, "-c", WRITER, str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(at_least)]
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    return said


async def test_nothing_that_was_committed_is_lost_at_kill_9(path: Path) -> None:
    said: list[int] = []
    for at_least in (1, 50, 300):
        said += killed_while_writing(path, first=1_000 * at_least, at_least=at_least)

    store = await open_store(path)
    environments = await store.read(lambda tx: tx.environments())
    kept = {e.id for e in environments}
    assert kept >= {f"env{number}" for number in said}
    for number in (int(e.id.removeprefix("env")) for e in environments):  # Both halves, or neither.
        assert not await store.write(lambda tx, n=number: tx.add_delivery(delivery(n), NOON))  # type: ignore[misc]
    assert len(kept) - len(said) <= 3  # What each process had committed but no longer said.
    await store.close()
