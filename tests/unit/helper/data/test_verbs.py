"""The verbs of the data pool, as far as they need no pool."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stager.data_pool import DataPool
from stager.helper.data.data import Data
from stager.helper.data.loop_file import LoopFile
from stager.helper.data.namespace import Namespace
from stager.helper.data.pool import Pool
from stager.helper.verbs import absolute
from tests.unit.helper.serving import line, sent, served

GB = 1 << 30
NAMES: list[object] = [
    "../db",
    "..",
    ".",
    "a/b",
    "",
    ".new-1",
    "-a",
    "a\n",
    "a\0",
    "a" * 256,
    "é",
    1,
    None,
    ["a"],
]
"""Values that aren't names."""


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[Path]:
    namespace = Namespace(None)
    pool = Pool(tmp_path / "data", namespace)
    async with served(tmp_path, Data(pool, namespace)) as path:
        yield path


async def refused(socket: Path, verb: str, **fields: Any) -> str:
    answer = await sent(socket, line(verb, fields))
    assert not answer["ok"]
    return str(answer["reason"])


@pytest.mark.parametrize("name", NAMES, ids=repr)
async def test_names_that_are_paths(socket: Path, name: object) -> None:
    one = {"installation": "abc"}
    clone = {**one, "volume": "a", "snapshot": "s1", "part": "db", "without": []}
    taken = {**one, "snapshot": "s1", "parts": [{"part": "db", "volume": "db"}]}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("data-volume-create", {**one, "volume": name}),
        ("data-volume-create", {"installation": name, "volume": "a"}),
        ("data-volume-remove", {**one, "volume": name}),
        ("data-volume-clone", {**clone, "volume": name}),
        ("data-volume-clone", {**clone, "snapshot": name}),
        ("data-volume-clone", {**clone, "part": name}),
        ("data-snapshot-create", {**taken, "snapshot": name}),
        ("data-snapshot-create", {**taken, "parts": [{"part": name, "volume": "db"}]}),
        ("data-snapshot-create", {**taken, "parts": [{"part": "db", "volume": name}]}),
        ("data-snapshot-remove", {**one, "snapshot": name}),
        ("data-list", {"installation": name}),
        ("data-usage", {**one, "volumes": [name], "snapshots": []}),
        ("data-usage", {**one, "volumes": [], "snapshots": [name]}),
    ]
    for verb, fields in requests:
        assert await refused(socket, verb, **fields) == "bad-request", (verb, fields)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../a", "a/../b", "a//b", ".", "a/", "", "a\n", "/".join("a" * 9)]
)
async def test_paths_that_aren_t_left_out(socket: Path, path: str) -> None:
    clone = {"installation": "abc", "volume": "a", "snapshot": "s1", "part": "db", "without": [path]}
    assert await refused(socket, "data-volume-clone", **clone) == "bad-request"


@pytest.mark.parametrize("count", [0, -1, 1 << 60, 1.5, "20G", True, None])
async def test_sizes(socket: Path, count: object) -> None:
    assert await refused(socket, "data-init", bytes=count, reserve=True) == "bad-request"
    assert await refused(socket, "data-grow", bytes=count) == "bad-request"


async def test_reserve_is_true_or_false(socket: Path) -> None:
    assert await refused(socket, "data-init", bytes=GB, reserve=1) == "bad-request"


async def test_without_a_pool(socket: Path, tmp_path: Path) -> None:
    status = await DataPool(socket).status()
    assert (status.state, status.storage, status.size) == ("none", "", 0)
    assert status.problem == "There is no data pool."
    assert status.hint
    for verb, fields in (
        ("data-volume-create", {"volume": "a"}),
        ("data-volume-remove", {"volume": "a"}),
        ("data-snapshot-create", {"snapshot": "s1", "parts": []}),
        ("data-list", {}),
    ):
        assert await refused(socket, verb, installation="abc", **fields) == "no-pool"
    assert not (tmp_path / "data").exists()


def test_a_machine_without_the_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lack = LoopFile(tmp_path, tmp_path / "pool", Namespace(None)).lack()
    assert "mkfs.xfs" in lack
    assert "xfsprogs" in lack


@pytest.mark.parametrize("text", ["data", "", "./data"])
def test_folders_that_aren_t_absolute(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        absolute(text)


def test_where_it_is_mounted(tmp_path: Path) -> None:
    assert absolute("/var/lib/../lib/stager-data/") == Path("/var/lib/stager-data")
    assert Namespace(1).path(Path("/var/lib")) == Path("/proc/1/root/var/lib")
    assert Namespace(None).path(Path("/var/lib")) == Path("/var/lib")
    assert "/proc" in {mount.point for mount in Namespace(os.getpid()).mounts()}
