"""The data pool of the root helper, on real file systems in a mount namespace of the test's own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stager.checks.data import DataCheck
from stager.data_pool import DataPool
from stager.domain.errors import Fault, Retry, StagerError
from stager.helper.data.ioctl import FS_NOCOW_FL, flags_of
from stager.ports.diagnostics import Verdict
from tests.integration.own_pool import OwnPool, own_pool, why_not
from tests.integration.stager import until
from tests.unit.docs.written import page_sample

GB, MB = 1 << 30, 1 << 20
ID = "abc"


@pytest.fixture
def pool() -> Iterator[OwnPool]:
    with own_pool() as pool:
        yield pool


async def created(pool: OwnPool, size: int = 2 * GB, *, reserve: bool = False) -> dict[str, Any]:
    return await pool.call("init", bytes=size, reserve=reserve)


async def volume(pool: OwnPool, name: str) -> Path:
    answer = await pool.call("volume-create", installation=ID, volume=name)
    return pool.path(answer["path"])


async def clone(pool: OwnPool, name: str, snapshot: str = "s1", part: str = "db") -> Path:
    answer = await pool.call(
        "volume-clone", installation=ID, volume=name, snapshot=snapshot, part=part, without=[]
    )
    return pool.path(answer["path"])


async def taken(pool: OwnPool, name: str = "s1", volume: str = "db", part: str = "db") -> dict[str, Any]:
    parts = [{"part": part, "volume": volume}]
    return await pool.call("snapshot-create", installation=ID, snapshot=name, parts=parts)


async def listed(pool: OwnPool) -> tuple[list[str], list[str]]:
    answer = await pool.call("list", installation=ID)
    return [each["volume"] for each in answer["volumes"]], [each["snapshot"] for each in answer["snapshots"]]


def write(path: Path, size: int) -> None:
    """Write a file that no file system can shorten."""
    with path.open("wb") as file:
        for _ in range(size // MB):
            file.write(os.urandom(MB))
        file.flush()
        os.fsync(file.fileno())


def allocate(path: Path, size: int) -> None:
    """Create a file that takes so many bytes, without writing them."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


async def refused(pool: OwnPool, verb: str, **fields: Any) -> StagerError:
    with pytest.raises(StagerError) as error:
        await pool.call(verb, **fields)
    return error.value


class TestFile:
    """A machine whose disk has no copy-on-write gets an XFS file system in a file."""

    async def test_clones_share_their_blocks(self, pool: OwnPool) -> None:
        assert (await pool.call("status"))["state"] == "none"
        status = await created(pool)
        assert (status["state"], status["storage"], status["file_system"]) == ("ready", "loop", "xfs")
        assert (status["folder"], status["reserved"]) == (str(pool.pool), False)
        write(await volume(pool, "db") / "rows", 100 * MB)
        await taken(pool)
        before = (await pool.call("status"))["used"]
        clones = [await clone(pool, f"clone{number}") for number in range(40)]

        with (clones[0] / "rows").open("r+b") as file:
            file.write(b"changed")
        assert (clones[1] / "rows").read_bytes()[:7] != b"changed"
        os.sync()
        used = (await pool.call("status"))["used"] - before
        assert used < 40 * MB, "40 clones of 100 MB take less than one copy"

        answer = await pool.call(
            "usage", installation=ID, volumes=["clone0", "clone1", "none"], snapshots=["s1"]
        )
        [first, second] = answer["volumes"]
        assert first["size"] >= 100 * MB
        assert 0 < first["unshared"] < MB
        assert second["unshared"] == 0
        assert [each["part"] for each in answer["snapshots"]] == ["db"]

    async def test_the_second_time_nothing_changes(self, pool: OwnPool) -> None:
        first = await created(pool)
        again = await created(pool, 3 * GB, reserve=True)
        assert (again["size"], again["reserved"]) == (first["size"], False)

    async def test_it_grows_while_it_is_used(self, pool: OwnPool) -> None:
        before = await created(pool, reserve=True)
        folder = await volume(pool, "db")
        with (folder / "open").open("wb") as file:
            file.write(b"1")
            status = await pool.call("grow", bytes=3 * GB)
            file.write(b"2")
        assert status["size"] - before["size"] == pytest.approx(GB, rel=0.05)
        assert (folder / "open").read_bytes() == b"12"
        assert (await pool.call("grow", bytes=3 * GB))["size"] == status["size"]
        error = await refused(pool, "grow", bytes=2 * GB)
        assert error.detail == "pool-smaller"

    async def test_a_reserved_one_has_its_blocks_and_gets_them_back(self, pool: OwnPool) -> None:
        status = await created(pool, reserve=True)
        file = pool.path(pool.data / "pool.xfs")
        assert status["reserved"]
        assert file.stat().st_blocks * 512 >= 2 * GB
        pool.run("fstrim", str(pool.pool))  # as the machine's timer does once a week
        until(lambda: file.stat().st_blocks * 512 >= 2 * GB, "the blocks are reserved again")

    async def test_a_sparse_one_returns_what_was_removed(self, pool: OwnPool) -> None:
        await created(pool)
        write(await volume(pool, "db") / "rows", 200 * MB)
        file = pool.path(pool.data / "pool.xfs")
        full = file.stat().st_blocks * 512
        await pool.call("volume-remove", installation=ID, volume="db")

        def is_smaller() -> bool:
            pool.run("sync", "-f", str(pool.pool))
            return file.stat().st_blocks * 512 < full - 100 * MB

        until(is_smaller, "the disk has the blocks again")

    async def test_only_root_gets_into_it(self, pool: OwnPool) -> None:
        await created(pool)
        await volume(pool, "db")
        for path in (pool.data, pool.pool, pool.pool / ID):
            assert stat.S_IMODE(pool.path(path).stat().st_mode) & 0o077 == 0 or path == pool.pool
        assert stat.S_IMODE(pool.path(pool.data / "pool.xfs").stat().st_mode) == 0o600
        options = next(
            line for line in pool.run("cat", "/proc/mounts").splitlines() if str(pool.pool) in line
        )
        assert {"nosuid", "nodev"} <= set(options.split()[3].split(","))


class TestCommands:
    """`stager data`, as the page has it."""

    @staticmethod
    def run(pool: OwnPool, sample: str) -> str:
        config = pool.folder / "config.yml"
        config.write_text(f"state_dir: {pool.folder}/state\nhelper_socket: {pool.socket}\n")
        stager = str(Path(sys.executable).with_name("stager"))
        command = sample.strip().replace("sudo /opt/stager/.venv/bin/stager", stager)
        done = subprocess.run(
            f"{command} --config {config}", shell=True, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    async def test_init_grow_and_status(self, pool: OwnPool) -> None:
        assert "There is no data pool." in self.run(pool, "sudo /opt/stager/.venv/bin/stager data status")
        init = page_sample("root-helper.md", "sudo /opt/stager/.venv/bin/stager data init")
        grow = page_sample("root-helper.md", "sudo /opt/stager/.venv/bin/stager data grow")
        expected = f"The data pool at {pool.pool} (XFS in a file with reserved blocks) has"
        assert expected in self.run(pool, init.replace("50G", "2G"))
        shown = self.run(pool, grow.replace("100G", "3G"))
        assert expected in shown
        assert "of 2.9 GB" in shown, "some is for the file system itself"
        answer = json.loads(self.run(pool, "sudo /opt/stager/.venv/bin/stager data status --json"))
        assert answer["state"] == "ready"
        assert self.run(pool, grow.replace("100G", "1G")).startswith("stager: ")

    async def test_doctor(self, pool: OwnPool) -> None:
        check = DataCheck(DataPool(pool.socket))
        [finding] = await check.run()
        assert (finding.verdict, finding.message) == (
            Verdict.OK, "Snapshots and clones of data are plain copies: There is no data pool.",
        )  # fmt: skip
        await created(pool)
        [finding] = await check.run()
        assert (finding.verdict, finding.hint) == (Verdict.OK, "")
        assert "XFS in a sparse file" in finding.message
        allocate(pool.path(pool.pool / "more"), (await pool.call("status"))["available"] - 20 * MB)
        [finding] = await check.run()
        assert finding.verdict is Verdict.WARNING
        pool.stop()
        [finding] = await check.run()
        assert "no root helper" in finding.message


class TestRoom:
    async def test_a_full_pool_gets_no_clones(self, pool: OwnPool) -> None:
        await created(pool, GB)
        write(await volume(pool, "db") / "rows", 10 * MB)
        await taken(pool)
        available = (await pool.call("status"))["available"]
        allocate(pool.path(pool.pool / ID / "volumes" / "db" / "data" / "more"), available - 20 * MB)
        for verb, fields in (
            ("volume-clone", {"volume": "clone", "snapshot": "s1", "part": "db", "without": []}),
            ("volume-create", {"volume": "new"}),
            ("snapshot-create", {"snapshot": "s2", "parts": [{"part": "db", "volume": "db"}]}),
        ):
            error = await refused(pool, verb, installation=ID, **fields)
            assert isinstance(error, Retry)
            assert error.detail == "pool-full"
            assert "almost full" in error.message
            assert "stager data grow" in str(error.hint)
        assert await listed(pool) == (["db"], ["s1"])
        await pool.call("volume-remove", installation=ID, volume="db")
        assert (await clone(pool, "clone") / "rows").stat().st_size == 10 * MB

    async def test_a_sparse_file_leaves_room_on_its_disk(self, pool: OwnPool) -> None:
        outer = pool.folder / "outer"
        disk = pool.folder / "disk.ext4"
        disk.touch()
        os.truncate(disk, 2 * GB)
        pool.run("mkfs.ext4", "-q", "-F", str(disk))
        pool.run("mount", "-o", "loop", str(disk), str(outer))
        await created(pool, int(1.9 * GB))
        await volume(pool, "db")
        allocate(pool.path(outer / "others"), 1700 * MB)
        error = await refused(pool, "volume-create", installation=ID, volume="new")
        assert error.detail == "pool-full"
        assert "disk of" in error.message
        pool.path(outer / "others").unlink()
        assert (await volume(pool, "new")).is_dir()

    @pytest.mark.parametrize(
        ("size", "reserve"), [(GB - 1, False), (1 << 49, True), (1 << 49, False), (5 * GB, False)]
    )
    async def test_sizes_that_aren_t_possible(self, size: int, reserve: bool) -> None:
        with own_pool("--data-max", "4G") as pool:
            error = await refused(pool, "init", bytes=size, reserve=reserve)
            assert isinstance(error, Fault)
            assert error.detail == "pool-size"
            assert not pool.path(pool.data / "pool.xfs").exists()


class TestMountsGone:
    async def test_after_a_reboot_everything_is_there(self, pool: OwnPool) -> None:
        await created(pool)
        (await volume(pool, "db") / "rows").write_text("1")
        await taken(pool)
        pool.halt()
        pool.boot()
        assert not pool.path(pool.pool / ID).exists(), "the mounts are gone"
        pool.start()
        assert (pool.path(pool.pool / ID / "volumes" / "db" / "data" / "rows")).read_text() == "1"
        assert await listed(pool) == (["db"], ["s1"])
        assert pool.run("cat", "/proc/mounts").count(str(pool.pool)) == 1

    async def test_one_that_was_unmounted_is_mounted_again(self, pool: OwnPool) -> None:
        await created(pool)
        (await volume(pool, "db") / "rows").write_text("1")
        pool.run("umount", str(pool.pool))
        await volume(pool, "new")
        assert sorted((await listed(pool))[0]) == ["db", "new"]
        pool.stop()
        pool.run("umount", str(pool.pool))
        assert os.listdir(pool.path(pool.pool)) == [], "nothing was created below the mount"

    async def test_one_that_can_t_be_mounted_stops_everything(self, pool: OwnPool) -> None:
        await created(pool)
        await volume(pool, "db")
        pool.halt()
        pool.boot()
        with pool.path(pool.data / "pool.xfs").open("r+b") as damaged:
            damaged.write(b"\0" * 4096)
        pool.start()
        status = await pool.call("status")
        assert status["state"] == "broken"
        assert "mount" in status["problem"]
        for verb, fields in (
            ("volume-create", {"volume": "new"}),
            ("volume-remove", {"volume": "db"}),
            ("list", {}),
        ):
            error = await refused(pool, verb, installation=ID, **fields)
            assert error.detail == "pool-broken"
        assert os.listdir(pool.path(pool.pool)) == []

    async def test_another_file_system_in_its_place_isn_t_used(self, pool: OwnPool) -> None:
        await created(pool)
        pool.run("umount", str(pool.pool))
        pool.run("mount", "-t", "tmpfs", "none", str(pool.pool))
        error = await refused(pool, "volume-create", installation=ID, volume="new")
        assert error.detail == "pool-broken"
        assert os.listdir(pool.path(pool.pool)) == []


class TestInUse:
    """dockerd mounts a volume while a container with it runs."""

    async def test_nothing_is_taken_or_removed(self, pool: OwnPool) -> None:
        await created(pool)
        folder = await volume(pool, "db")
        (folder / "rows").write_text("1")
        (pool.folder / "docker").mkdir()
        pool.run("mount", "--bind", str(pool.pool / ID / "volumes/db/data"), str(pool.folder / "docker"))
        parts = [{"part": "db", "volume": "db"}]
        for verb, fields in (
            ("volume-remove", {"volume": "db"}),
            ("snapshot-create", {"snapshot": "s1", "parts": parts}),
        ):
            error = await refused(pool, verb, installation=ID, **fields)
            assert error.detail == "volume-in-use"
        assert (folder / "rows").read_text() == "1"
        pool.run("umount", str(pool.folder / "docker"))
        await taken(pool)


class TestContainersAsRoot:
    """What a container may leave in its volume."""

    async def test_links_to_the_machine_aren_t_followed(self, pool: OwnPool) -> None:
        await created(pool)
        folder = await volume(pool, "db")
        secret = pool.folder / "secret"
        secret.write_text("of the machine")
        (folder / "file").symlink_to(secret)
        (folder / "folder").symlink_to(pool.folder)
        (folder / "other").symlink_to("../../other/data")
        await taken(pool)
        copy = await clone(pool, "clone")
        assert (copy / "file").readlink() == secret
        assert (copy / "folder").is_symlink()
        answer = await pool.call("usage", installation=ID, volumes=["clone"], snapshots=[])
        assert answer["volumes"][0]["size"] == 0
        await pool.call("volume-remove", installation=ID, volume="db")
        assert secret.read_text() == "of the machine"

    async def test_devices_are_refused_and_don_t_work(self, pool: OwnPool) -> None:
        await created(pool)
        folder = await volume(pool, "db")
        os.mknod(folder / "disk", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        with pytest.raises(PermissionError):
            (folder / "disk").open("rb")
        error = await refused(
            pool, "snapshot-create", installation=ID, snapshot="s1", parts=[{"part": "db", "volume": "db"}]
        )
        assert error.detail == "device"
        assert await listed(pool) == (["db"], [])

    async def test_users_of_the_machine_can_t_run_what_it_has(self, pool: OwnPool) -> None:
        await created(pool)
        folder = await volume(pool, "db")
        pool.run("cp", "/usr/bin/id", str(pool.pool / ID / "volumes/db/data/id"))
        os.chmod(folder / "id", 0o4755)
        await taken(pool)
        copy = await clone(pool, "clone")
        assert stat.S_IMODE((copy / "id").stat().st_mode) == 0o4755
        path = str(pool.pool / ID / "volumes/clone/data/id")
        as_user = ["setpriv", "--reuid", "65534", "--clear-groups", "sh", "-c"]
        with pytest.raises(AssertionError, match="ermission"):
            pool.run(*as_user, f"{path} -u")


class TestKilled:
    async def test_leftovers_are_removed_at_the_start(self, pool: OwnPool) -> None:
        await created(pool)
        await volume(pool, "db")
        volumes = pool.path(pool.pool / ID / "volumes")
        pool.kill9()
        for name in (".new-1", ".gone-2"):
            (volumes / name / "data" / "base").mkdir(parents=True)
            (volumes / name / "data" / "base" / "1").touch()
        pool.start()
        assert os.listdir(volumes) == ["db"]
        assert "removed 2 incomplete" in pool.log


class TestOtherFileSystems:
    @staticmethod
    def mount(pool: OwnPool, kind: str) -> None:
        if reason := why_not(f"mkfs.{kind}"):
            pytest.skip(reason)
        disk = pool.folder / f"disk.{kind}"
        disk.touch()
        os.truncate(disk, GB)
        pool.run(f"mkfs.{kind}", "-q", "-f", str(disk))
        try:
            pool.run("mount", "-t", kind, "-o", "loop", str(disk), str(pool.folder / "outer"))
        except AssertionError as error:
            pytest.skip(f"{kind} can't be mounted here: {error}")

    @pytest.mark.parametrize("kind", ["xfs", "btrfs"])
    async def test_they_are_used_as_they_are(self, pool: OwnPool, kind: str) -> None:
        self.mount(pool, kind)
        status = await created(pool)
        assert (status["state"], status["storage"], status["file_system"]) == ("ready", "direct", kind)
        assert not pool.path(pool.data / "pool.xfs").exists()
        write(await volume(pool, "db") / "rows", 50 * MB)
        await taken(pool)
        await clone(pool, "clone")
        os.sync()
        answer = await pool.call("usage", installation=ID, volumes=["clone"], snapshots=[])
        assert answer["volumes"][0]["unshared"] == 0
        error = await refused(pool, "grow", bytes=2 * GB)
        assert error.detail == "pool-direct"

    async def test_files_without_copy_on_write(self, pool: OwnPool) -> None:
        """As MariaDB creates them on btrfs."""
        self.mount(pool, "btrfs")
        await created(pool)
        folder = await volume(pool, "db")
        (folder / "ibdata1").touch()
        pool.run("chattr", "+C", str(pool.pool / ID / "volumes/db/data/ibdata1"))
        write(folder / "ibdata1", MB)
        await taken(pool)
        copy = await clone(pool, "clone")
        assert (copy / "ibdata1").read_bytes() == (folder / "ibdata1").read_bytes()
        with (copy / "ibdata1").open("rb") as file:
            assert flags_of(file.fileno()) & FS_NOCOW_FL


async def test_owners_and_attributes(pool: OwnPool) -> None:
    await created(pool)
    folder = await volume(pool, "db")
    (folder / "rows").write_text("1")
    os.chown(folder / "rows", 999, 999)
    (folder / "rows").chmod(0o4600)
    os.setxattr(folder / "rows", "trusted.overlay.opaque", b"y")
    folder.chmod(0o700)
    os.chown(folder, 999, 999)
    await taken(pool)
    copy = await clone(pool, "clone")
    facts = (copy / "rows").stat()
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (999, 0o4600)
    assert os.getxattr(copy / "rows", "trusted.overlay.opaque") == b"y"
    assert (copy.stat().st_uid, stat.S_IMODE(copy.stat().st_mode)) == (999, 0o700)


async def test_a_helper_that_may_not_enter_the_namespace() -> None:
    """As under systemd, without its unit's drop-in: there is no pool, and it says why."""
    with own_pool(before=["setpriv", "--bounding-set", "-sys_admin,-sys_ptrace,-sys_chroot"]) as pool:
        status = await pool.call("status")
        assert status["state"] == "none"
        assert "builder.conf" in status["hint"]
        error = await refused(pool, "init", bytes=GB, reserve=False)
        assert "namespace" in error.message
