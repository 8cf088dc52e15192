"""What `open_store` makes of the file that it finds."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine, insert

from stager.domain.deployment import DeployedService
from stager.domain.environment import Environment
from stager.domain.errors import Fault, Retry
from stager.domain.service import ServiceSpec
from stager.stores.sqlite import migrations, schema
from stager.stores.sqlite.database import prepare
from stager.stores.sqlite.rows import deployment_row, environment_row
from stager.stores.sqlite.store import open_store
from stager.stores.sqlite.version import VERSION
from tests.contracts.store_samples import NOON, delivery, deployment, environment
from tests.unit.stores import schema_script


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "on %the way" / "stager.db"


def declarations(path: Path) -> set[tuple[object, ...]]:
    """All that the database declares, but Alembic's own table: columns with type, default and key, foreign
    keys, and indices. In no order, because a later release adds its columns at the end."""
    found: set[tuple[object, ...]] = set()
    with closing(sqlite3.connect(path)) as connection:
        tables = [n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in (t for t in tables if t != "alembic_version"):
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            found |= {(table, "column", *column[1:]) for column in columns}
            keys = connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()
            found |= {(table, "foreign key", *key[2:]) for key in keys}
            for _, index, unique, origin, partial in connection.execute(
                f"PRAGMA index_list({table})"
            ).fetchall():
                order = tuple(row[2] for row in connection.execute(f"PRAGMA index_info('{index}')"))
                [(sql,)] = connection.execute(
                    "SELECT sql FROM sqlite_master WHERE name = ?", [index]
                ).fetchall()
                found.add((table, "index", unique, origin, partial, order, sql))
    return found


def before_v5(saved: Environment) -> dict[str, object]:
    """The columns of an environment that there were before v5."""
    later = {"volume_epoch", "has_cloned_data", "depth", "min_idle", "asleep_runs"}
    return {name: value for name, value in environment_row(saved)._asdict().items() if name not in later}


class TestMigrations:
    def test_make_what_a_new_database_is_made_of(self) -> None:
        assert schema_script.SCRIPT.read_text("utf-8") == schema_script.migrated(), schema_script.__doc__

    def test_make_the_tables_that_the_schema_declares(self, path: Path, tmp_path: Path) -> None:
        prepare(path)
        declared = tmp_path / "declared.db"
        engine = create_engine(f"sqlite:///{declared}", poolclass=NullPool)
        schema.metadata.create_all(engine)

        assert declarations(path) == declarations(declared)

    def test_leave_nothing_for_alembic_to_propose(self, path: Path) -> None:
        prepare(path)
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True}
            )
            assert compare_metadata(context, schema.metadata) == []

    def test_end_at_the_version_that_the_schema_names(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))

        assert ScriptDirectory.from_config(config).get_current_head() == VERSION

    def test_v3_keeps_the_outcomes_and_drops_the_contents(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
        with engine.begin() as connection:
            config = migrations._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "v2")
            for identity, finished in (("done", "2"), ("waits", "NULL")):
                connection.exec_driver_sql(
                    "INSERT INTO deliveries (forge, id, event, received_at, finished_at, outcome, payload)"
                    f" VALUES ('github', '{identity}', 'pull_request', 1, {finished}, 'launched', '{{}}')"
                )
        prepare(path)

        with closing(sqlite3.connect(path)) as connection:
            query = "SELECT id, outcome, about, payload FROM deliveries ORDER BY seq"
            rows = connection.execute(query).fetchall()
        assert rows == [("done", "launched", "", ""), ("waits", "launched", "", "{}")]

    async def test_v4_adds_the_service_of_earlier_deployments(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        saved = environment()
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
        with engine.begin() as connection:
            config = migrations._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "v3")
            connection.execute(insert(schema.environments).values(**before_v5(saved)).inline())
            for number, image in ((1, "sha256:1"), (2, "")):
                row = deployment_row(deployment(number, image=image))._asdict()
                del row["services"], row["failed_services"]
                connection.execute(insert(schema.deployments).values(**row).inline())
        store = await open_store(path)

        first = await store.read(lambda tx: tx.deployment("dep1"))
        second = await store.read(lambda tx: tx.deployment("dep2"))
        await store.close()
        assert first is not None
        assert second is not None
        web = DeployedService(ServiceSpec("web"), "sha256:1", build="b1", is_main=True, has_healthcheck=True)
        assert first.services == (web,)
        assert second.services == ()

    async def test_v5_knows_that_no_earlier_preview_has_cloned_data(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        saved = environment(volume_epoch=0, has_cloned_data=False, asleep_runs=frozenset())
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
        with engine.begin() as connection:
            config = migrations._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "v4")
            connection.execute(insert(schema.environments).values(**before_v5(saved)).inline())
            connection.execute(insert(schema.deployments).values(**deployment_row(deployment())._asdict()))
        store = await open_store(path)

        assert await store.read(lambda tx: tx.environments()) == [saved]
        assert await store.read(lambda tx: tx.deployment("dep1")) == deployment()
        assert await store.read(lambda tx: tx.snapshots()) == []
        await store.close()

    def test_are_undone_whole_when_one_fails(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_: object) -> None:
            raise ZeroDivisionError

        # It runs after the last migration.
        monkeypatch.setattr(migrations, "_check_foreign_keys", fail)
        path.parent.mkdir(parents=True)
        with (
            closing(sqlite3.connect(path, isolation_level=None)) as connection,
            pytest.raises(ZeroDivisionError),
        ):
            migrations.upgrade(connection)
        assert declarations(path) == set()
        monkeypatch.undo()
        prepare(path)
        assert "environments" in {table for table, *_ in declarations(path)}

    def test_sqlalchemy_is_not_loaded_for_a_database_that_is_new_or_up_to_date(self, path: Path) -> None:
        script = (
            "import sys; from pathlib import Path; import stager.stores.sqlite.store;"
            "from stager.stores.sqlite.database import prepare;"
            "prepare(Path(sys.argv[1])); prepare(Path(sys.argv[1]));"
            "sys.exit(not {'alembic', 'sqlalchemy'}.isdisjoint(sys.modules))"
        )
        subprocess.run([sys.executable, "-c", script, str(path)], check=True)


class TestFiles:
    async def test_what_was_saved_is_there_after_reopening(self, path: Path) -> None:
        store = await open_store(path)
        await store.write(lambda tx: tx.save_environment(environment()))
        await store.close()

        again = await open_store(path)
        assert await again.read(lambda tx: tx.environments()) == [environment()]
        await again.close()

    async def test_closing_leaves_one_file_that_others_cant_read(self, path: Path) -> None:
        store = await open_store(path)
        await store.write(lambda tx: tx.add_delivery(delivery(), NOON))
        assert {p.name for p in path.parent.iterdir()} == {"stager.db", "stager.db-wal", "stager.db-shm"}
        assert {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()} == {0o600}

        await store.close()
        assert [p.name for p in path.parent.iterdir()] == ["stager.db"]

    async def test_an_empty_file_is_a_new_database(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        path.touch()

        store = await open_store(path)
        assert await store.read(lambda tx: tx.environments()) == []
        await store.close()

    async def test_a_newer_database_is_left_alone(self, path: Path) -> None:
        prepare(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        before = path.read_bytes()

        with pytest.raises(Fault, match=r"newer version of Stager \(schema 9999\)") as raised:
            await open_store(path)
        assert raised.value.reason == "database-newer"
        assert "Install that version again" in raised.value.hint
        assert path.read_bytes() == before

    @pytest.mark.parametrize("version", ["0001", "0004"])
    async def test_a_pre_release_database_is_left_alone(self, path: Path, version: str) -> None:
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE environments (seq INTEGER PRIMARY KEY, present BOOLEAN)")
            connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
            connection.execute("INSERT INTO alembic_version VALUES (?)", [version])
        before = path.read_bytes()

        with pytest.raises(Fault, match=rf"pre-release version of Stager \(schema {version}\)") as raised:
            await open_store(path)
        assert raised.value.reason == "database-pre-release"
        assert f"Remove {path.name}" in raised.value.hint
        assert path.read_bytes() == before

    @pytest.mark.parametrize("content", [b"not a database, " * 1000, b"\x00" * 4096])
    async def test_a_file_that_is_no_database_is_left_alone(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

        with pytest.raises(Fault) as raised:
            await open_store(path)
        assert raised.value.reason == "database-broken"
        assert f"Move {path.name}" in raised.value.hint
        assert path.read_bytes() == content

    async def test_a_damaged_database_is_not_used(self, path: Path) -> None:
        store = await open_store(path)
        for number in range(200):
            await store.write(lambda tx, n=number: tx.add_delivery(delivery(n), NOON))  # type: ignore[misc]
        await store.close()
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
        path.write_bytes(content)

        with pytest.raises(Fault) as raised:
            await open_store(path)
        assert raised.value.reason == "database-broken"

    async def test_a_database_of_something_else_is_left_alone(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE bookmarks (url TEXT)")
        before = path.read_bytes()

        with pytest.raises(Fault, match="such as bookmarks") as raised:
            await open_store(path)
        assert raised.value.reason == "database-broken"
        assert path.read_bytes() == before

    async def test_a_directory_in_its_place_is_a_fault(self, path: Path) -> None:
        path.mkdir(parents=True)

        with pytest.raises(Fault) as raised:
            await open_store(path)
        assert raised.value.reason == "database-inaccessible"

    async def test_a_file_above_it_is_a_fault(self, tmp_path: Path) -> None:
        (tmp_path / "state").touch()

        with pytest.raises(Fault) as raised:
            await open_store(tmp_path / "state" / "stager.db")
        assert raised.value.reason == "database-inaccessible"

    async def test_another_process_that_writes_is_waited_for_then_reported(self, path: Path) -> None:
        prepare(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Retry) as raised:
                await open_store(path, busy_timeout=0.05)
        assert raised.value.reason == "database-busy"
