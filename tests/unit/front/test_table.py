"""The live table and its persistence."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from stager.domain.route import Endpoint, Page, RouteTable, target_to_wire
from stager.front.table import table_file
from stager.front.table.live_table import LiveTable, changes_to_wire
from stager.front.table.table_file import TableFile
from tests.unit.domain.test_route import tables as any_table

A, B = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)
HOME = Endpoint(path="/run/stager.sock")
TABLE = RouteTable(
    {"a.stage.test": A, "b.stage.test": Page("starting", "b")}, "stage.test", HOME, {3200: "a.stage.test"}
)


def opened(directory: Path) -> TableFile:
    file = TableFile(directory)
    file.load()
    return file


def reread(directory: Path) -> RouteTable:
    file = opened(directory)
    value = file.live.value()
    file.close()
    return value


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("a.stage.test", A),
        ("nobody.stage.test", None),
        ("deep.a.stage.test", None),
        ("stage.test", HOME),
        ("otherstage.test", HOME),
        ("127.0.0.1", HOME),
        ("localhost", HOME),
        ("", HOME),
    ],
)
def test_where_hosts_lead(host: str, target: Endpoint | None) -> None:
    live = LiveTable(TABLE)
    assert live.find(host) == target
    assert live.is_home(host) == (target == HOME)


NO_CHANGES: dict[str, object] = {"upserts": {}, "deletes": [], "ports": {}, "policies": {}}
A_TO = target_to_wire(A)
B_TO = target_to_wire(B)


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        (TABLE, {}),
        (replace(TABLE, routes=dict(TABLE.routes)), {}),
        (TABLE.upsert("a.stage.test", B), {"upserts": {"a.stage.test": B_TO}}),
        (TABLE.upsert("new.stage.test", A), {"upserts": {"new.stage.test": A_TO}}),
        (TABLE.delete("b.stage.test"), {"deletes": ["b.stage.test"]}),
        (replace(TABLE, domain="other"), {"domain": "other", "home": target_to_wire(HOME)}),
        (replace(TABLE, home=None), {"domain": TABLE.domain, "home": None}),
    ],
)
def test_only_what_changed_is_sent(after: RouteTable, changes: dict[str, object]) -> None:
    assert changes_to_wire(TABLE, after) == NO_CHANGES | changes


@given(any_table, any_table)
def test_changes_turn_any_table_into_any_other(before: RouteTable, after: RouteTable) -> None:
    live = LiveTable(before)

    live.change(json.loads(json.dumps(changes_to_wire(before, after))))

    assert live.value() == after


async def test_it_is_there_again(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.apply(TABLE)
    file.close()
    assert reread(tmp_path) == TABLE
    file = opened(tmp_path)
    changed = TABLE.upsert("a.stage.test", B).delete("b.stage.test")
    changed = replace(changed, ports={3201: "a.stage.test"})
    file.change(changes_to_wire(TABLE, changed))
    file.close()
    assert reread(tmp_path) == changed
    assert reread(tmp_path) == changed


async def test_applying_the_same_again_writes_nothing(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.apply(TABLE)
    size = (tmp_path / "table.log").stat().st_size
    file.apply(TABLE)
    assert (tmp_path / "table.log").stat().st_size == size
    file.close()


@pytest.mark.parametrize("torn", [b'{"upserts": {"c', b"\x00\x00", b"[]\n", b'{"upserts": {"c": 1}}\n'])
async def test_a_torn_line_is_left_out(tmp_path: Path, torn: bytes) -> None:
    file = opened(tmp_path)
    file.apply(TABLE)
    file.close()
    with (tmp_path / "table.log").open("ab") as log:
        log.write(torn)
    assert reread(tmp_path) == TABLE


async def test_a_broken_snapshot_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("{")
    assert reread(tmp_path) == RouteTable()


async def test_replaying_what_the_snapshot_has_does_no_harm(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.apply(TABLE)
    file.apply(TABLE.upsert("a.stage.test", B))
    log = (tmp_path / "table.log").read_bytes()
    file.close()
    last = reread(tmp_path)
    (tmp_path / "table.log").write_bytes(log)
    assert reread(tmp_path) == last == TABLE.upsert("a.stage.test", B)


async def test_the_journal_is_compacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "_MAX_JOURNAL_BYTES", 2000)
    file = opened(tmp_path)
    table = TABLE
    for number in range(500):
        table = table.upsert("a.stage.test", Endpoint("127.0.0.1", number + 10))
        file.apply(table)
        if number % 100 == 0:
            await file.settle()
    await file.settle()
    file.close()
    assert (tmp_path / "table.log").stat().st_size < 20_000
    assert reread(tmp_path) == table


def test_a_bad_change_changes_nothing() -> None:
    live = LiveTable(TABLE)
    wire = {"upserts": {"a.stage.test": {"address": "x", "port": 3}, "c": {"page": "starting"}}}
    with pytest.raises(KeyError):
        live.change(wire)
    with pytest.raises(ValueError, match="no page"):
        live.change({"upserts": {"a.stage.test": HOMEPAGE | {"page": "nonsense"}}})
    with pytest.raises(ValueError, match="home"):
        live.change({"domain": "", "home": json.loads(json.dumps(HOMEPAGE))})
    assert live.value() == TABLE


HOMEPAGE = target_to_wire(Page("gone"))


class TestAFullDisk:
    """/dev/full says that no space is left, to each write."""

    @pytest.fixture
    def full(self, tmp_path: Path) -> Path:
        file = opened(tmp_path)
        file.apply(TABLE)
        file.close()
        return tmp_path

    async def test_what_was_there_is_served_without_a_write(self, full: Path) -> None:
        before = {path.name: path.read_bytes() for path in full.iterdir()}
        file = TableFile(full)
        (full / "table.json.new").symlink_to("/dev/full")
        assert file.load().value() == TABLE
        assert file.problem == ""
        file.close()
        (full / "table.json.new").unlink()
        assert {path.name: path.read_bytes() for path in full.iterdir()} == before

    async def test_a_folder_in_which_nothing_can_be_written(
        self, full: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Path.open

        def refuse(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if set(mode) & set("wa+"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, mode, *rest, **more)

        monkeypatch.setattr(Path, "open", refuse)
        file = TableFile(full)
        assert file.load().value() == TABLE
        assert "No space left" in file.problem
        changed = TABLE.upsert("c.stage.test", B)
        file.apply(changed)
        assert file.live.value() == changed, "it is served all the same"
        file.retry()
        await file.settle()
        assert "No space left" in file.problem
        monkeypatch.undo()
        file.retry()
        await file.settle()
        assert file.problem == ""
        file.apply(changed.delete("a.stage.test"))
        file.close()
        assert reread(full) == changed.delete("a.stage.test")

    async def test_a_change_that_can_t_be_saved(self, full: Path) -> None:
        file = opened(full)
        journal = (full / "table.log").read_bytes()
        (full / "table.log").rename(full / "aside")
        (full / "table.log").symlink_to("/dev/full")
        (full / "table.json.new").symlink_to("/dev/full")
        file.close()
        (full / "table.log").unlink()
        (full / "aside").rename(full / "table.log")
        file.load()
        assert file._file is not None
        file._file.close()
        file._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
        changed = TABLE.upsert("c.stage.test", B)
        file.apply(changed)
        file.apply(changed.upsert("d.stage.test", B))
        assert file.problem == "The route table can't be saved: No space left on device."
        assert (full / "table.log").read_bytes() == journal
        file.retry()
        await file.settle()
        assert file.problem != "", "a snapshot can't be written either"
        file.retry()  # the symbolic link is gone with the first try
        await file.settle()
        assert file.problem == ""
        file.close()
        assert reread(full) == changed.upsert("d.stage.test", B)

    async def test_half_a_line_is_taken_back(self, full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = opened(full)
        good = (full / "table.log").read_bytes()

        class Half:
            def __init__(self, real: Any) -> None:
                self._real = real

            def write(self, data: bytes) -> int:
                written: int = self._real.write(data[: len(data) // 2])
                return written

            def __getattr__(self, name: str) -> Any:
                return getattr(self._real, name)

        file._file = Half(file._file)  # type: ignore[assignment]
        file.apply(TABLE.upsert("c.stage.test", B))
        assert "No space left" in file.problem
        file.close()
        assert (full / "table.log").read_bytes() == good

    async def test_a_journal_that_cant_be_opened_again(
        self, full: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The snapshot was written, and the journal replaced."""
        file = opened(full)
        real = Path.open

        def refuse(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if (path.name, mode) == ("table.log", "ab"):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return real(path, mode, *rest, **more)

        monkeypatch.setattr(Path, "open", refuse)
        file._fail(OSError(errno.ENOSPC, "x"), unsaved=False)
        file.retry()
        await file.settle()
        assert "Too many open files" in file.problem
        changed = TABLE.upsert("c.stage.test", B)
        file.apply(changed)
        assert file.live.value() == changed
        monkeypatch.undo()
        file.retry()
        await file.settle()
        assert file.problem == ""
        file.apply(changed.delete("a.stage.test"))
        file.close()
        assert reread(full) == changed.delete("a.stage.test")
