"""What every store promises about people. Each test runs against the real one and the one in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.identity.accounts import AuditFilter, AuditRecord, ShareLink, Token
from stager.ports.store import Store, Transaction
from stager.stores.sqlite.store import open_store
from stager.testing import MemoryStore
from tests.contracts.store_samples import environment, later, link, session, token


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else await open_store(tmp_path / "stager.db")
    yield opened
    await opened.close()


def entry(number: int = 1) -> AuditRecord:
    return AuditRecord(
        later(number), "ann (GitHub)", "192.0.2.1", "launch", "shop", f"env{number}", "refused", "why"
    )


class TestSessions:
    async def test_come_back_by_their_digest(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_session(session(2)))
        await store.write(lambda tx: tx.save_session(session(1)))

        assert await store.read(lambda tx: tx.session("d2")) == session(2)
        assert await store.read(lambda tx: tx.session("s2")) is None
        assert await store.read(lambda tx: tx.sessions()) == [session(1), session(2)]

    async def test_a_renewed_one_has_its_new_secret_only(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_session(session()))
        await store.write(lambda tx: tx.save_session(session(digest="new", renewed_at=later(9))))

        assert await store.read(lambda tx: tx.session("d1")) is None
        assert await store.read(lambda tx: tx.session("new")) == session(digest="new", renewed_at=later(9))

    async def test_end(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_session(session()))
        await store.write(lambda tx: tx.delete_session("s1"))
        await store.write(lambda tx: tx.delete_session("never heard of"))

        assert await store.read(lambda tx: tx.sessions()) == []

    async def test_are_deleted_after_they_ended(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_session(session(1, expires_at=later(60))))
        await store.write(lambda tx: tx.save_session(session(2, expires_at=later(61))))

        assert await store.write(lambda tx: tx.delete_expired(later(61))) == 1
        assert await store.read(lambda tx: tx.sessions()) == [session(2, expires_at=later(61))]


class TestTokens:
    @pytest.mark.parametrize("saved", [token(), token(apps=None, used_at=None, revoked_at=None)])
    async def test_come_back_as_they_were_saved(self, store: Store, saved: Token) -> None:
        await store.write(lambda tx: tx.save_token(token(apps=frozenset())))
        await store.write(lambda tx: tx.save_token(saved))

        assert await store.read(lambda tx: tx.token("d1")) == saved
        assert await store.read(lambda tx: tx.token("t1")) is None
        assert await store.read(lambda tx: tx.tokens()) == [saved]


class TestShareLinks:
    @pytest.mark.parametrize("saved", [link(), link(revoked_at=None)])
    async def test_come_back_as_they_were_saved(self, store: Store, saved: ShareLink) -> None:
        await store.write(lambda tx: tx.save_environment(environment(1)))
        await store.write(lambda tx: tx.save_environment(environment(2)))
        await store.write(lambda tx: tx.save_share_link(link(note="before")))
        await store.write(lambda tx: tx.save_share_link(saved))
        await store.write(lambda tx: tx.save_share_link(link(2, environment_id="env2")))

        assert await store.read(lambda tx: tx.share_link("l1")) == saved
        assert await store.read(lambda tx: tx.share_link("l3")) is None
        assert await store.read(lambda tx: tx.share_links("env1")) == [saved]
        assert await store.read(lambda tx: tx.all_share_links()) == [saved, link(2, environment_id="env2")]

    async def test_one_needs_its_environment(self, store: Store) -> None:
        with pytest.raises(ValueError, match="there is no environment env1"):
            await store.write(lambda tx: tx.save_share_link(link()))

    async def test_are_deleted_after_they_ended(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_environment(environment()))
        await store.write(lambda tx: tx.save_share_link(link()))

        assert await store.write(lambda tx: tx.delete_expired(later(60))) == 0
        assert await store.write(lambda tx: tx.delete_expired(later(61))) == 1


class TestAudit:
    async def test_is_read_from_its_end_in_pages(self, store: Store) -> None:
        await store.write(lambda tx: tx.append_audit_record(entry(1)))
        await store.write(lambda tx: tx.append_audit_record(entry(2)))
        await store.write(lambda tx: tx.append_audit_record(entry(3)))

        newest = await store.read(lambda tx: tx.audit_records(limit=2))
        assert newest == [replace(entry(3), seq=3), replace(entry(2), seq=2)]
        assert await store.read(lambda tx: tx.audit_records(limit=2, before=2)) == [replace(entry(1), seq=1)]

    async def test_is_filtered(self, store: Store) -> None:
        launch = replace(entry(1), actor="Ann (Basic)", action="launch", app="shop", result="done")
        kill = replace(
            entry(2), actor="bob (GitHub)", action="kill", app="shop", subject="50%_x", result="refused"
        )
        await store.write(lambda tx: tx.append_audit_record(launch))
        await store.write(lambda tx: tx.append_audit_record(kill))

        async def found(**only: str) -> list[str]:
            wanted = AuditFilter(**only)
            records = await store.read(lambda tx: tx.audit_records(limit=9, only=wanted))
            return [each.action for each in records]

        assert await found() == ["kill", "launch"]
        assert await found(text="ANN") == ["launch"]
        assert await found(text="50%_") == ["kill"]
        assert await found(text="5_%") == []
        assert await found(app="shop", result="refused") == ["kill"]
        assert await found(action="launch", app="other") == []

    async def test_nothing_of_a_failed_transaction_stays(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            tx.append_audit_record(entry())
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.write(work)
        assert await store.read(lambda tx: tx.audit_records(limit=9)) == []

    async def test_is_never_deleted(self, store: Store) -> None:
        await store.write(lambda tx: tx.append_audit_record(entry()))
        await store.write(lambda tx: tx.delete_expired(later(1_000_000)))

        assert len(await store.read(lambda tx: tx.audit_records(limit=9))) == 1

    async def test_a_read_must_not_write(self, store: Store) -> None:
        with pytest.raises(RuntimeError, match="must not write"):
            await store.read(lambda tx: tx.append_audit_record(entry()))

    @pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
    async def test_the_database_prevents_edits(self, tmp_path: Path, statement: str) -> None:
        store = await open_store(tmp_path / "stager.db")
        await store.write(lambda tx: tx.append_audit_record(entry()))
        await store.close()

        with sqlite3.connect(tmp_path / "stager.db") as database:
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement)
            database.rollback()
            assert database.execute("SELECT actor FROM audit").fetchall() == [("ann (GitHub)",)]


def test_the_samples_are_full() -> None:
    """Or a column that isn't saved would go unnoticed."""
    for thing in (session(), token(), link()):
        assert all(getattr(thing, name) for name in thing.__slots__)
