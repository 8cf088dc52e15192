"""Trees of files as containers may write them, copied, measured and removed, on any file system."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stager.helper.data.ioctl import clone_file, copy_file
from stager.helper.data.tree import FOLDER, MAX_DEPTH, TreeCopy, measure, opened, remove_tree
from stager.helper.protocol import HelperError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


def copied(
    source: Path, target: Path, without: frozenset[tuple[str, ...]] = frozenset(),
    copy: Callable[[int, int], None] = copy_file,
) -> Path:  # fmt: skip
    links = target.with_name(f"{target.name}-links")
    target.mkdir()
    links.mkdir()
    with (
        opened(str(source), FOLDER) as read,
        opened(str(target), FOLDER) as new,
        opened(str(links), FOLDER) as linked,
    ):
        TreeCopy(linked, without, copy).copy(read, new)
    return target


def removed(path: Path) -> None:
    with opened(str(path.parent), FOLDER) as parent:
        remove_tree(parent, path.name)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


class TestCopy:
    def test_content_modes_and_times(self, source: Path, tmp_path: Path) -> None:
        inner = source / "base" / "1"
        inner.mkdir(parents=True)
        (inner / "1259").write_bytes(os.urandom(300_000))
        (inner / "1259").chmod(0o640)
        (inner / "empty").touch()
        (source / "run").write_text("#!/bin/sh\n")
        (source / "run").chmod(0o4755)
        source.chmod(0o700)
        os.utime(inner / "1259", ns=(1_000_000_001, 2_000_000_002))
        os.utime(inner, ns=(3_000_000_003, 4_000_000_004))

        target = copied(source, tmp_path / "target")

        assert (target / "base" / "1" / "1259").read_bytes() == (inner / "1259").read_bytes()
        for name in (".", "base", "base/1", "base/1/1259", "base/1/empty", "run"):
            expected, found = (source / name).stat(), (target / name).stat()
            assert (found.st_mode, found.st_mtime_ns) == (expected.st_mode, expected.st_mtime_ns), name

    @needs_root
    def test_owners_are_kept(self, source: Path, tmp_path: Path) -> None:
        (source / "file").touch()
        (source / "link").symlink_to("file")
        for name in ("file", "link"):
            os.chown(source / name, 999, 70, follow_symlinks=False)
        (source / "file").chmod(0o6755)
        target = copied(source, tmp_path / "target")
        for name in ("file", "link"):
            facts = (target / name).lstat()
            assert (facts.st_uid, facts.st_gid) == (999, 70)
        assert stat.S_IMODE((target / "file").stat().st_mode) == 0o6755

    def test_extended_attributes_are_kept(self, source: Path, tmp_path: Path) -> None:
        (source / "file").touch()
        try:
            os.setxattr(source / "file", "user.note", b"\x00\xff")
        except OSError as error:
            pytest.skip(f"this file system has no extended attributes: {error}")
        target = copied(source, tmp_path / "target")
        assert os.getxattr(target / "file", "user.note") == b"\x00\xff"

    def test_links_aren_t_followed(self, source: Path, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_text("of the host")
        (source / "folder").symlink_to(outside)
        (source / "file").symlink_to(outside / "secret")
        (source / "up").symlink_to("../../../../etc/passwd")
        target = copied(source, tmp_path / "target")
        for name in ("folder", "file", "up"):
            assert (target / name).is_symlink()
            assert (target / name).readlink() == (source / name).readlink()

    def test_hard_links_stay_links(self, source: Path, tmp_path: Path) -> None:
        (source / "a").mkdir()
        (source / "a" / "file").write_text("once")
        (source / "b").mkdir()
        os.link(source / "a" / "file", source / "b" / "same")
        target = copied(source, tmp_path / "target")
        assert (target / "a" / "file").stat().st_ino == (target / "b" / "same").stat().st_ino
        assert (target / "a" / "file").read_text() == "once"
        assert (target / "a" / "file").stat().st_ino != (source / "a" / "file").stat().st_ino

    def test_a_socket_is_left_out(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(source)  # a socket's path has 107 bytes at most
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(".s.PGSQL.5432")
        (source / "file").touch()
        assert os.listdir(copied(source, tmp_path / "target")) == ["file"]

    def test_a_pipe_doesn_t_block(self, source: Path, tmp_path: Path) -> None:
        os.mkfifo(source / "pipe", 0o622)
        (source / "pipe").chmod(0o622)
        assert (copied(source, tmp_path / "target") / "pipe").lstat().st_mode == stat.S_IFIFO | 0o622

    @needs_root
    def test_a_device_is_refused(self, source: Path, tmp_path: Path) -> None:
        (source / "dev").mkdir()
        try:
            os.mknod(source / "dev" / "disk", 0o600 | stat.S_IFBLK, os.makedev(7, 0))
        except PermissionError:
            pytest.skip("no devices can be created here")
        with pytest.raises(HelperError) as refused:
            copied(source, tmp_path / "target")
        assert refused.value.reason == "device"
        assert "dev/disk" in refused.value.message

    def test_what_is_left_out(self, source: Path, tmp_path: Path) -> None:
        for name in ("postmaster.pid", "18/docker/postmaster.pid", "18/postmaster.pid", "data/PG_VERSION"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).touch()
        without = frozenset({("postmaster.pid",), ("18", "docker", "postmaster.pid"), ("none",)})
        target = copied(source, tmp_path / "target", without)
        assert sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()) == [
            "18/postmaster.pid", "data/PG_VERSION",
        ]  # fmt: skip

    def test_names_that_aren_t_text(self, source: Path, tmp_path: Path) -> None:
        name = b"\xff\n\\ '"
        Path(os.fsdecode(bytes(source) + b"/" + name)).write_text("x")
        assert os.listdir(bytes(copied(source, tmp_path / "target"))) == [name]

    def test_too_many_folders_in_one_another(self, source: Path, tmp_path: Path) -> None:
        nest(source, MAX_DEPTH + 1)
        with pytest.raises(HelperError) as refused:
            copied(source, tmp_path / "target")
        assert refused.value.reason == "too-deep"
        removed(source)

    def test_as_many_as_possible(self, source: Path, tmp_path: Path) -> None:
        nest(source, MAX_DEPTH)
        target = copied(source, tmp_path / "target")
        assert depth(target) == MAX_DEPTH
        removed(target)

    def test_a_folder_that_becomes_a_link_meanwhile(self, source: Path, tmp_path: Path) -> None:
        """As a container may do: what was opened is copied, never what the name leads to."""
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "secret").write_text("of the host")
        (source / "real").mkdir()
        (source / "real" / "secret").write_text("of the volume")
        (source / "now").symlink_to("real")
        ended = threading.Event()

        def swap() -> None:
            turn = 0
            while not ended.is_set():
                turn += 1
                if turn % 2:
                    (source / "next").symlink_to(tmp_path / "outside")
                else:
                    (source / "next").mkdir()
                try:
                    os.rename(source / "next", source / "swapped")
                except OSError:
                    (source / "swapped").unlink() if (source / "swapped").is_symlink() else os.rmdir(
                        source / "swapped"
                    )
                    os.rename(source / "next", source / "swapped")

        swapping = threading.Thread(target=swap)
        swapping.start()
        try:
            for number in range(100):
                target = copied(source, tmp_path / f"target{number}")
                assert (target / "real" / "secret").read_text() == "of the volume"
                swapped = target / "swapped"
                assert not swapped.exists() or swapped.is_symlink() or not os.listdir(swapped)
        finally:
            ended.set()
            swapping.join()

    def test_a_clone_isn_t_replaced_by_a_copy(self, source: Path, tmp_path: Path) -> None:
        """On a file system without reflinks, it fails instead of writing everything again."""
        (source / "file").write_bytes(b"x" * 100_000)
        unsupported = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EXDEV}

        def copy(read: int, new: int) -> None:
            try:
                clone_file(read, new)
            except OSError as error:
                if error.errno in unsupported:
                    pytest.skip(f"refused, as there are no reflinks here: {error}")
                raise

        target = copied(source, tmp_path / "target", copy=copy)
        assert (target / "file").read_bytes() == b"x" * 100_000


class TestMeasure:
    def test_files_count_once(self, source: Path) -> None:
        (source / "a").write_bytes(b"x" * 100_000)
        os.link(source / "a", source / "b")
        (source / "link").symlink_to("/etc/passwd")
        os.mkfifo(source / "pipe")
        os.sync()
        try:
            with opened(str(source), FOLDER) as folder:
                size, own = measure(folder)
        except OSError as error:
            pytest.skip(f"this file system doesn't report extents: {error}")
        assert size == (source / "a").stat().st_blocks * 512
        assert own <= size


class TestRemove:
    def test_everything_of_it(self, source: Path, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "kept").touch()
        for number in range(50):
            (source / f"folder{number}" / "inner" / "most").mkdir(parents=True)
            (source / f"folder{number}" / "inner" / "file").touch()
        (source / "link").symlink_to(outside)
        (source / "folder1" / "link").symlink_to(outside)
        os.mkfifo(source / "pipe")
        removed(source)
        assert not source.exists()
        assert (outside / "kept").exists()

    def test_deeper_than_a_path_may_be(self, source: Path) -> None:
        nest(source, 2000)
        removed(source)
        assert not source.exists()

    def test_nothing_is_there(self, source: Path) -> None:
        removed(source / "none")

    def test_a_link_in_its_place_is_refused(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(source)
        with pytest.raises(OSError, match=r"link|directory"):
            removed(tmp_path / "link")
        assert source.exists()


def nest(folder: Path, count: int) -> None:
    """Create folders in one another, deeper than a path can name."""
    current = os.open(folder, FOLDER)
    for _ in range(count):
        os.mkdir("d", dir_fd=current)
        inner = os.open("d", FOLDER, dir_fd=current)
        os.close(current)
        current = inner
    os.close(current)


def depth(folder: Path) -> int:
    count, current = 0, os.open(folder, FOLDER)
    while os.listdir(current):
        inner = os.open("d", FOLDER, dir_fd=current)
        os.close(current)
        current, count = inner, count + 1
    os.close(current)
    return count
