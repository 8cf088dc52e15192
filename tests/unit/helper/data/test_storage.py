"""Volumes and snapshots in a pool on any file system: files are copied instead of cloned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stager.helper.data.ioctl import copy_file
from stager.helper.data.storage import Storage
from stager.helper.data.tree import FOLDER
from stager.helper.protocol import HelperError

STEPS = (
    "mkdir",
    "open",
    "rename",
    "chown",
    "chmod",
    "symlink",
    "link",
    "unlink",
    "rmdir",
    "write",
    "fsync",
    "utime",
)
"""The functions of `os` that change the pool."""


class Mounted(set[str]):
    def __call__(self, path: str) -> bool:
        return path in self


@pytest.fixture
def mounted() -> Mounted:
    return Mounted()


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def storage(pool: Path, mounted: Mounted) -> Iterator[Storage]:
    file = os.open(pool, FOLDER)
    storage = Storage(file, "abc", mounted, copy_file)
    storage.create_folders()
    yield storage
    os.close(file)


def data(pool: Path, volume: str) -> Path:
    return pool / "abc" / "volumes" / volume / "data"


def database(pool: Path, storage: Storage, volume: str = "db") -> Path:
    """A volume with some content."""
    storage.create_volume(volume)
    folder = data(pool, volume)
    (folder / "base").mkdir()
    (folder / "base" / "1").write_text("rows")
    os.link(folder / "base" / "1", folder / "base" / "2")
    (folder / "base" / "link").symlink_to("1")
    (folder / "postmaster.pid").write_text("1")
    return folder


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


class TestVolume:
    def test_an_empty_one(self, pool: Path, storage: Storage) -> None:
        assert storage.create_volume("db")
        assert data(pool, "db").stat().st_mode & 0o777 == 0o755
        assert not storage.create_volume("db")
        assert storage.volumes() == {"db": ("", "")}

    def test_removal(self, pool: Path, storage: Storage) -> None:
        database(pool, storage)
        assert storage.remove_volume("db")
        assert not storage.remove_volume("db")
        assert os.listdir(pool / "abc" / "volumes") == []

    def test_one_in_use_isn_t_removed(self, pool: Path, storage: Storage, mounted: Mounted) -> None:
        database(pool, storage)
        mounted.add("abc/volumes/db/data")
        with pytest.raises(HelperError) as refused:
            storage.remove_volume("db")
        assert refused.value.reason == "volume-in-use"
        assert (data(pool, "db") / "base" / "1").exists()


class TestSnapshot:
    def test_volumes_are_taken_together(self, pool: Path, storage: Storage) -> None:
        database(pool, storage)
        storage.create_volume("files")
        (data(pool, "files") / "a.png").write_text("picture")
        assert storage.create_snapshot("one", {"db": "db", "files": "files"})
        assert storage.snapshots() == {"one": ["db", "files"]}
        assert not storage.create_snapshot("one", {"db": "db"})
        assert storage.snapshots() == {"one": ["db", "files"]}

    def test_of_what_there_isn_t(self, pool: Path, storage: Storage) -> None:
        database(pool, storage)
        with pytest.raises(HelperError) as refused:
            storage.create_snapshot("one", {"db": "db", "files": "none"})
        assert refused.value.reason == "volume-unknown"
        assert storage.snapshots() == {}
        assert os.listdir(pool / "abc" / "snapshots") == []

    def test_of_a_running_container(self, pool: Path, storage: Storage, mounted: Mounted) -> None:
        database(pool, storage)
        mounted.add("abc/volumes/db/data")
        with pytest.raises(HelperError) as refused:
            storage.create_snapshot("one", {"db": "db"})
        assert refused.value.reason == "volume-in-use"
        assert storage.snapshots() == {}

    def test_a_container_that_starts_meanwhile(self, pool: Path, storage: Storage) -> None:
        database(pool, storage)
        answers = iter([False, True])
        file = os.open(pool, FOLDER)
        with pytest.raises(HelperError) as refused:
            Storage(file, "abc", lambda _: next(answers), copy_file).create_snapshot("one", {"db": "db"})
        os.close(file)
        assert refused.value.reason == "volume-in-use"
        assert storage.snapshots() == {}


class TestClone:
    def test_it_has_its_own_data(self, pool: Path, storage: Storage) -> None:
        database(pool, storage)
        storage.create_snapshot("one", {"db": "db"})
        for name in ("clone1", "clone2"):
            assert storage.clone_volume(name, ("one", "db"), ["postmaster.pid"])
        (data(pool, "clone1") / "base" / "1").write_text("changed")
        assert content(data(pool, "clone1")) == {"base/1": "changed", "base/2": "changed"}
        assert content(data(pool, "clone2")) == {"base/1": "rows", "base/2": "rows"}
        assert content(data(pool, "db")) == {"base/1": "rows", "base/2": "rows", "postmaster.pid": "1"}
        assert storage.volumes()["clone1"] == ("one", "db")

    def test_twice(self, pool: Path, storage: Storage) -> None:
        database(pool, storage)
        storage.create_snapshot("one", {"db": "db"})
        storage.create_snapshot("two", {"db": "db"})
        storage.clone_volume("clone", ("one", "db"), [])
        (data(pool, "clone") / "base" / "1").write_text("changed")
        assert not storage.clone_volume("clone", ("one", "db"), [])
        assert (data(pool, "clone") / "base" / "1").read_text() == "changed"
        for origin in (("two", "db"), ("", "")):
            with pytest.raises(HelperError):
                storage.clone_volume("clone", origin, [])

    @pytest.mark.parametrize("origin", [("none", "db"), ("one", "none")])
    def test_of_what_there_isn_t(self, pool: Path, storage: Storage, origin: tuple[str, str]) -> None:
        database(pool, storage)
        storage.create_snapshot("one", {"db": "db"})
        with pytest.raises(HelperError) as refused:
            storage.clone_volume("clone", origin, [])
        assert refused.value.reason == "snapshot-unknown"
        assert set(storage.volumes()) == {"db"}

    def test_it_stays_when_its_snapshot_goes(self, pool: Path, storage: Storage) -> None:
        database(pool, storage)
        storage.create_snapshot("one", {"db": "db"})
        storage.clone_volume("clone", ("one", "db"), [])
        assert storage.remove_snapshot("one")
        assert not storage.remove_snapshot("one")
        assert content(data(pool, "clone"))["base/1"] == "rows"


class Killed(BaseException):
    pass


class TestKilled:
    """A helper that is killed at any call of the system leaves nothing incomplete with a valid name."""

    @pytest.mark.parametrize("verb", ["create", "clone", "snapshot", "remove-volume", "remove-snapshot"])
    def test_at_each_step(self, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
        step = 0
        while not self.killed_at(step, tmp_path / str(step), verb, monkeypatch):
            step += 1
        assert step > 3

    def killed_at(self, step: int, pool: Path, verb: str, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Run the verb until its `step`th call. Returns whether it completed."""
        pool.mkdir()
        file = os.open(pool, FOLDER)
        storage = Storage(file, "abc", lambda _: False, copy_file)
        storage.create_folders()
        full = content(database(pool, storage))
        storage.create_snapshot("one", {"db": "db"})
        before = set(storage.volumes()), set(storage.snapshots())
        actions: dict[str, tuple[Callable[[], object], tuple[set[str], set[str]]]] = {
            "create": (lambda: storage.create_volume("new"), ({"db", "new"}, {"one"})),
            "clone": (lambda: storage.clone_volume("new", ("one", "db"), []), ({"db", "new"}, {"one"})),
            "snapshot": (lambda: storage.create_snapshot("two", {"db": "db"}), ({"db"}, {"one", "two"})),
            "remove-volume": (lambda: storage.remove_volume("db"), (set(), {"one"})),
            "remove-snapshot": (lambda: storage.remove_snapshot("one"), ({"db"}, set())),
        }
        action, after = actions[verb]
        with killed_after(step, monkeypatch) as is_done:
            action()
            is_done.append(True)

        found = set(storage.volumes()), set(storage.snapshots())
        assert found in (before, after)
        if is_done:
            assert found == after
        storage.remove_leftovers()
        assert (set(storage.volumes()), set(storage.snapshots())) == found
        assert set(os.listdir(pool / "abc" / "volumes")) == found[0]
        assert set(os.listdir(pool / "abc" / "snapshots")) == found[1]
        for folder in (data(pool, "new"), data(pool, "db"), *(pool / "abc" / "snapshots").glob("*/db")):
            assert verb == "create" or not folder.exists() or content(folder) == full
        os.close(file)
        return bool(is_done)


@contextmanager
def killed_after(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Let the first `count` calls through; after these, none has an effect, not even while cleaning up."""
    calls = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > count:
                raise Killed
            return function(*arguments, **more)

        return call

    with monkeypatch.context() as patched:
        for name in STEPS:
            patched.setattr(os, name, counted(getattr(os, name)))
        is_done: list[bool] = []
        with suppress(Killed):
            yield is_done
