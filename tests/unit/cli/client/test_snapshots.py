"""`stager snapshot` and `stager reset`, against a server with a database whose volume is cloned."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from stager.auth.basic import BasicAuthentication
from stager.cli.client import output
from stager.cli.client.commands import snapshots
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import ROLES, USERS, Served, served
from tests.unit.control.data.test_snapshots import DataHarness, shop

FAILED, USAGE, NOT_FOUND = 1, 2, 5


@pytest.fixture
def server() -> Iterator[Served]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with served(DataHarness([shop()], authentication=[BasicAuthentication(USERS)], roles=ROLES)) as stager:
        yield stager
    structlog.reset_defaults()


@pytest.fixture
def stager(server: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The server, with a preview that is live, for somebody who is signed in."""
    monkeypatch.setattr(snapshots, "PAUSE", 0.05)
    monkeypatch.setenv("STAGER_USERNAME", "ann")
    monkeypatch.setenv("STAGER_PASSWORD", "pa:ss")
    assert run("configure", f"endpoint={server.url}", "auth_strategy=Basic").exit_code == 0
    assert run("launch", "shop", "main", "--no-open").exit_code == 0
    return server


def created(run: Run, *words: str) -> dict[str, Any]:
    done = run("snapshot", "create", "shop", "--from", "main", "--json", *words)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_from_a_preview_to_the_next_one(stager: Served, run: Run) -> None:
    del stager
    done = run("snapshot", "create", "shop", "--from", "main", "--name", "base")
    assert done.exit_code == 0, done.output
    for line in ("number:      1", "name:        base", "state:       ready, current", "masked:      no"):
        assert line in done.stdout
    assert "clones:      are full copies" in done.stdout

    assert run("launch", "shop", "feature", "--no-open").exit_code == 0
    shown = run("show", "shop", "feature").stdout
    assert 'data: snapshot 1 "base", ' in shown
    listed = run("snapshot", "list", "shop").stdout
    headings = ["IMAGE", "#", "NAME", "STATE", "AGE", "SIZE", "MADE", "FROM", "MASKED"]
    assert listed.split("\n")[0].split() == headings
    assert "preview main" in listed


def test_a_preview_that_started_empty_says_why(stager: Served, run: Run) -> None:
    del stager
    assert "started empty, because there was no snapshot yet" in run("show", "shop", "main").stdout


@pytest.mark.parametrize("words", [(), ("--from", "main", "--run", "x"), ("--restore", "a", "--run", "x")])
def test_exactly_one_source_is_needed(run: Run, words: tuple[str, ...]) -> None:
    done = run("snapshot", "create", "shop", *words)

    assert done.exit_code == USAGE
    assert "one of --from, --run and --restore" in done.stderr


def test_a_dump_is_sent(stager: Served, run: Run, tmp_path: Path) -> None:
    dump = tmp_path / "shop.sql"
    dump.write_bytes(b"-" * (3 << 20))
    done = run("snapshot", "create", "shop", "--restore", str(dump), "--service", "db")

    assert done.exit_code == 0, done.output
    assert "made from:   dump shop.sql" in done.stdout
    assert "Sending the dump" in done.stderr
    copied = stager.call(lambda: _now(stager.harness.data.copied))
    assert list(copied.values()) == [dump.read_bytes()]


async def _now(value: Any) -> Any:
    return value


def test_a_dump_that_is_missing_is_named(stager: Served, run: Run) -> None:
    del stager
    done = run("snapshot", "create", "shop", "--restore", "/nowhere/shop.sql")

    assert done.exit_code == USAGE
    assert "/nowhere/shop.sql can't be read" in done.stderr


def test_one_that_fails_says_why(stager: Served, run: Run) -> None:
    stager.do(lambda: setattr(stager.harness.data, "space", 0))
    stager.do(lambda: _fill(stager))
    done = run("snapshot", "create", "shop", "--from", "main")

    assert done.exit_code == FAILED
    assert "enough disk space" in done.stderr


def _fill(stager: Served) -> None:
    for files in stager.harness.engine.stored.files.values():
        files["rows"] = "real"


class TestChoosing:
    def test_by_number_name_and_id(self, stager: Served, run: Run) -> None:
        del stager
        first = created(run, "--name", "base")
        created(run)
        for reference in ("1", "base", first["id"]):
            assert json.loads(run("snapshot", "show", "shop", reference, "--json").stdout)["number"] == 1
        assert json.loads(run("snapshot", "show", "shop", "current", "--json").stdout)["number"] == 2

        chosen = run("snapshot", "use", "shop", "base")
        assert "ready, current (chosen)" in chosen.stdout
        assert json.loads(run("snapshot", "show", "shop", "current", "--json").stdout)["number"] == 1
        assert run("snapshot", "use", "shop", "newest").exit_code == 0
        assert json.loads(run("snapshot", "show", "shop", "current", "--json").stdout)["number"] == 2

    def test_an_unknown_one_is_named(self, stager: Served, run: Run) -> None:
        del stager
        for reference, said in (("9", 'no snapshot "9"'), ("current", "no current snapshot")):
            done = run("snapshot", "show", "shop", reference)
            assert done.exit_code in (FAILED, NOT_FOUND)
            assert said in done.stderr


class TestDeleting:
    def test_without_a_terminal_yes_is_needed(self, stager: Served, run: Run) -> None:
        del stager
        created(run)
        done = run("snapshot", "delete", "shop", "1")
        assert done.exit_code == USAGE
        assert "Pass --yes" in done.stderr
        assert run("snapshot", "delete", "shop", "1", "--yes").exit_code == 0
        assert "There are no snapshots" in run("snapshot", "list").stderr

    @pytest.mark.parametrize(("answer", "is_deleted"), [("y\n", True), ("\n", False), ("n\n", False)])
    def test_on_a_terminal_it_asks(
        self, stager: Served, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, is_deleted: bool
    ) -> None:
        del stager
        created(run, "--name", "base")
        for module in (snapshots, output):
            monkeypatch.setattr(module, "is_interactive", lambda: True)
        done = run("snapshot", "delete", "shop", "1", stdin=answer)

        assert 'Delete snapshot 1 "base" of shop, made from preview main' in done.stderr
        assert "New previews start from it" in done.stderr
        assert (done.exit_code == 0) is is_deleted
        assert len(json.loads(run("snapshot", "list", "--json").stdout)) == (0 if is_deleted else 1)


class TestDownload:
    def test_an_archive_is_written_and_none_replaced(
        self, stager: Served, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stager.do(lambda: _fill(stager))
        created(run)
        monkeypatch.chdir(tmp_path)
        assert run("snapshot", "download", "shop", "1").exit_code == 0
        with tarfile.open(tmp_path / "shop-1-data.tar") as archive:
            assert "volume/rows" in archive.getnames()
        again = run("snapshot", "download", "shop", "1")
        assert again.exit_code == USAGE
        assert "shop-1-data.tar can't be created: File exists" in again.stderr

    def test_an_unknown_volume_leaves_no_file(self, stager: Served, run: Run, tmp_path: Path) -> None:
        del stager
        created(run)
        done = run("snapshot", "download", "shop", "1", "other", "--output", str(tmp_path / "a.tar"))
        assert done.exit_code == NOT_FOUND
        assert not (tmp_path / "a.tar").exists()

    def test_to_standard_output(self, stager: Served, run: Run) -> None:
        stager.do(lambda: _fill(stager))
        created(run)
        done = run("snapshot", "download", "shop", "1", "--output", "-")
        with tarfile.open(fileobj=io.BytesIO(done.stdout_bytes)) as archive:
            assert "volume/rows" in archive.getnames()


def test_reset(stager: Served, run: Run) -> None:
    stager.do(lambda: _fill(stager))
    done = run("reset", "main")

    assert done.exit_code == 0, done.output
    assert "Live after" in done.stderr
