"""The live table, and that it survives whatever happens to the process."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.route import Endpoint, Page, RouteTable
from stager.front import table as tables
from stager.front.table import LiveTable, TableFile, changes_to_wire

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


async def test_it_is_there_again(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.apply(TABLE)
    file.close()
    assert reread(tmp_path) == TABLE
    file = opened(tmp_path)
    changed = TABLE.upsert("a.stage.test", B).delete("b.stage.test")
    changed = replace(changed, ports={3201: "a.stage.test"})
    file.change(changes_to_wire(TABLE.changes_to(changed), changed))
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
    monkeypatch.setattr(tables, "_LONGEST_JOURNAL", 2000)
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


HOMEPAGE = {"page": "gone", "name": "", "app": "", "message": "", "hint": "", "lines": [], "url": ""}
