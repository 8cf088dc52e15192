"""What only real Docker shows of snapshots: owners, links, hostile names, memory, and what a kill leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
import subprocess
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stager.domain.errors import Fault, Refused
from stager.domain.service import ServiceCheck
from stager.engines.docker import labels
from stager.engines.docker.command_ending import MARK
from stager.engines.docker.data import archives
from stager.engines.docker.data.names import volume_name
from tests.contracts.data import DockerDataUnderTest, cloned, copies_under_test
from tests.contracts.engines import PYTHON, with_settings
from tests.contracts.test_data import BASE, clone_of, saved, started

pytestmark = pytest.mark.docker

MIB = 1 << 20
KINDS = """\
mkdir -p /data/sub/empty && cd /data/sub
printf secret > private; chmod 600 private; chown 1234:4321 private
printf x > setuid; chmod 4755 setuid
ln private hard; ln -s private link; ln -s /etc/passwd absolute; ln -s ../../../../etc outside; mkfifo fifo
printf x > 'a b
c'; printf x > -- '-rf'; printf x > 'ünï'
touch -d '2001-02-03 04:05:06' private
cd /; chown 77:88 /data; chmod 2750 /data
"""
SHOW = "cd /data && find . -exec stat -c '%n %u:%g %a %h %F %N' {} + | sort; stat -c %Y sub/private"
CONNECT = """\
import socket, sys
for address in sys.argv[1:]:
    try:
        socket.create_connection((address, 80), 1).close()
        print("reached", address)
    except OSError as error:
        print(address, error.errno)
print(sorted(name for _, name in socket.if_nameindex()))
"""


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[DockerDataUnderTest]:
    async with copies_under_test(tmp_path) as opened:
        yield opened


def left(storage: DockerDataUnderTest) -> set[str]:
    """The names of all containers and volumes of the installation that aren't an environment's."""
    ours = f"label={labels.INSTALLATION}={storage.engine.installation}"
    containers = docker("ps", "--all", "--filter", ours, "--format", "{{.Names}}").split()
    found = docker("volume", "ls", "--filter", ours, "--format", "{{.Name}}").split()
    return {name for name in (*containers, *found) if "-e1-" not in name and "-d" not in name}


class TestFiles:
    async def test_keep_owners_modes_links_and_names(self, storage: DockerDataUnderTest) -> None:
        base = await started(storage)
        await storage.run(base, KINDS)
        before = await storage.run(base, SHOW)
        await storage.instances.stop(base.id)
        await storage.data.save("s1", {"data": BASE})

        assert await storage.run(await clone_of(storage, "s1"), SHOW) == before
        assert "1234:4321 600 2" in before
        assert ". 77:88 2750" in before

    async def test_of_hostile_volumes_stay_in_the_volume(self, storage: DockerDataUnderTest) -> None:
        base = await started(storage)
        script = (
            "ln -s / /data/root; ln -s ../.. /data/up; ln -s /volume /data/volume; mkdir -p '/data/..x/...'"
        )
        await storage.run(base, script)
        await storage.instances.stop(base.id)
        await storage.data.save("s1", {"data": BASE})
        clone = await clone_of(storage, "s1")

        script = "cd /data; for link in root up volume; do readlink $link; done; ls -d ..x/..."
        shown = await storage.run(clone, script)
        assert shown.split() == ["/", "../..", "/volume", "..x/..."]
        assert sorted(path.name for path in storage.folder.iterdir()) == ["s1"]

    async def test_of_snapshots_are_closed_to_others(self, storage: DockerDataUnderTest) -> None:
        await saved(storage, name="ann")
        await storage.data.record("s1", "{}")

        entries = [storage.folder, *storage.folder.rglob("*")]
        assert {path.name for path in entries} == {"snapshots", "s1", "data.tar", "s1.json"}
        for path in entries:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path

    async def test_are_copied_in_constant_memory(self, storage: DockerDataUnderTest) -> None:
        base = await started(storage)
        await storage.run(base, "dd if=/dev/zero of=/data/large bs=1M count=256 2>&1")
        await storage.instances.stop(base.id)
        tracemalloc.start()
        try:
            sizes = await storage.data.save("s1", {"data": BASE})
            clone = await clone_of(storage, "s1")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert sizes["data"] > 256 * MIB
        assert peak < 32 * MIB
        assert (await storage.run(clone, "stat -c %s /data/large")).strip() == str(256 * MIB)

    @pytest.mark.parametrize("snapshot", ["../s1", "S1", "", "s1/..", "a.incomplete"])
    async def test_have_checked_ids(self, storage: DockerDataUnderTest, snapshot: str) -> None:
        await started(storage)
        with pytest.raises(ValueError, match="not a snapshot's id"):
            await storage.data.remove(snapshot)


class TestForeignVolumes:
    async def test_arent_saved(self, storage: DockerDataUnderTest) -> None:
        name = volume_name(storage.engine.installation, BASE)
        docker("volume", "create", name)
        try:
            with pytest.raises(Fault) as caught:
                await storage.data.save("s1", {"data": BASE})
        finally:
            docker("volume", "rm", name)

        assert caught.value.reason == "volume-missing"

    async def test_with_a_folder_of_the_host_arent_used(
        self, storage: DockerDataUnderTest, tmp_path: Path
    ) -> None:
        name = volume_name(storage.engine.installation, BASE)
        spec = await storage.spec("runs")
        ours = {
            labels.INSTALLATION: storage.engine.installation,
            labels.ENVIRONMENT: "e1",
            labels.GENERATION: "0",
            labels.VOLUME: "data",
        }
        options = [f"--opt={pair}" for pair in ("type=none", "o=bind", f"device={tmp_path}")]
        docker("volume", "create", *(f"--label={k}={v}" for k, v in ours.items()), *options, name)
        with pytest.raises(Fault) as caught:
            await storage.instances.create(spec)

        assert caught.value.reason == "volume-foreign"

    async def test_of_a_container_that_stager_didnt_create_are_in_use(
        self, storage: DockerDataUnderTest
    ) -> None:
        base = await saved(storage, name="ann")
        name = volume_name(storage.engine.installation, BASE)
        label = f"--label={labels.INSTALLATION}={storage.engine.installation}"
        docker("run", "--detach", label, "--volume", f"{name}:/x", PYTHON, "sleep", "60")
        with pytest.raises(Refused) as caught:
            await storage.data.save("s2", {"data": BASE})

        assert caught.value.reason == "volume-in-use"
        assert base


class TestKills:
    """Stager is killed between two steps, and starts again."""

    @pytest.mark.parametrize("at", ["before", "during"])
    async def test_of_a_clone_leave_no_half_one(
        self, storage: DockerDataUnderTest, monkeypatch: pytest.MonkeyPatch, at: str
    ) -> None:
        await saved(storage, first="ann", last="bob")
        spec = cloned(await storage.spec("runs", "e2"), "s1")
        with monkeypatch.context() as patch:
            _kill_while_writing(patch, at)
            with pytest.raises(Killed):
                await storage.instances.create(spec)
        await storage.restarted()

        instance = await storage.instances.create(spec)
        await storage.instances.start(instance.id)
        assert await storage.files(instance) == {"first": "ann", "last": "bob"}
        await storage.data.sweep()
        assert {name for name in left(storage) if "e2" not in name} == set()
        assert await storage.data.sweep() == 0

    async def test_of_a_clone_are_swept(
        self, storage: DockerDataUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await saved(storage, name="ann")
        with monkeypatch.context() as patch:
            _kill_while_writing(patch, "during")
            with pytest.raises(Killed):
                await storage.instances.create(cloned(await storage.spec("runs", "e2"), "s1"))
        await storage.restarted()
        assert left(storage)

        assert await storage.data.sweep() > 0
        assert left(storage) == set()
        assert await storage.data.sweep() == 0

    async def test_of_a_save_leave_no_snapshot(
        self, storage: DockerDataUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = await started(storage, name="ann")
        await storage.instances.stop(base.id)
        with monkeypatch.context() as patch:
            patch.setattr("stager.engines.docker.data.copies._publish", _killed)
            patch.setattr("shutil.rmtree", lambda *_, **__: None)
            with pytest.raises(Killed):
                await storage.data.save("s1", {"data": BASE})
        await storage.restarted()

        assert await storage.data.snapshots() == {}
        assert await storage.data.sweep() == 1
        assert list(storage.folder.iterdir()) == []
        await storage.data.save("s1", {"data": BASE})

    async def test_of_a_removal_leave_no_snapshot(
        self, storage: DockerDataUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await saved(storage, name="ann")
        await storage.data.record("s1", "{}")
        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", _killed)
            with pytest.raises(Killed):
                await storage.data.remove("s1")
        await storage.restarted()

        assert await storage.data.snapshots() == {}
        await storage.data.remove("s1")
        assert list(storage.folder.iterdir()) == []


class TestWorkbenches:
    async def test_have_no_network(self, storage: DockerDataUnderTest) -> None:
        base = await started(storage)
        address = base.endpoint.address if base.endpoint else ""
        image = await storage.engine.images.resolve(PYTHON)
        spec = with_settings(
            replace(await storage.spec("runs"), image=image, variables={"PASSWORD": "x"}),
            command=("sleep", "600"),
        )
        await storage.workbench.open("b1", {"data": None})
        script = f"python3 -c '{CONNECT}' {address} 127.0.0.1 169.254.169.254 172.17.0.1 192.0.2.1; env"
        ran = await storage.workbench.run("b1", spec, None, script, {}, 30.0)
        await storage.workbench.close("b1")

        assert "reached" not in ran.output
        assert "['lo']" in ran.output
        names = {line.partition("=")[0] for line in ran.output.splitlines() if "=" in line}
        shown = json.loads(docker("image", "inspect", "--format", "{{json .Config.Env}}", PYTHON))
        of_image = {pair.partition("=")[0] for pair in shown}
        assert names <= {"PASSWORD", MARK, "HOME", "HOSTNAME", "PWD", "SHLVL", "_", "LC_CTYPE"} | of_image

    async def test_arent_instances(self, storage: DockerDataUnderTest) -> None:
        await storage.workbench.open("b1", {"data": None})
        spec = await storage.spec("runs")
        running = asyncio.ensure_future(
            storage.workbench.run("b1", spec, None, "sleep 1; printf x > /data/name", {}, 30.0)
        )
        await asyncio.sleep(0.5)
        assert await storage.instances.find() == []
        assert await storage.instances.find_with_labels() == []
        await storage.instances.sweep({})
        assert await storage.data.sweep() == 0

        assert (await running).exit_code == 0
        await storage.workbench.close("b1")
        assert left(storage) == set()

    @pytest.mark.parametrize(
        "check",
        [
            ServiceCheck(command=("test", "-f", "/data/ready")),
            ServiceCheck(port=8080),
            ServiceCheck(path="/"),
        ],
    )
    async def test_wait_for_the_health_check(self, storage: DockerDataUnderTest, check: ServiceCheck) -> None:
        serves = "sleep 0.5; touch /data/ready; exec httpd -f -p 8080 -h /etc"
        spec = with_settings(await storage.spec("runs"), command=("sh", "-c", serves))
        await storage.workbench.open("b1", {"data": None})
        script = "test -f /data/ready && wget -q -O /dev/null http://127.0.0.1:8080/passwd; netstat -ltn"
        ran = await storage.workbench.run("b1", spec, check, script, {}, 30.0)
        await storage.workbench.close("b1")

        assert ran.exit_code == 0, ran.output

    async def test_that_dont_get_healthy_are_given_up(self, storage: DockerDataUnderTest) -> None:
        await storage.workbench.open("b1", {"data": None})
        check = ServiceCheck(command=("false",))
        with pytest.raises(Fault) as caught:
            await storage.workbench.run("b1", await storage.spec("runs"), check, "true", {}, 1.0)
        await storage.workbench.close("b1")

        assert caught.value.reason == "workbench-unhealthy"
        assert "ready" in caught.value.detail

    async def test_of_a_killed_stager_are_removed(self, storage: DockerDataUnderTest) -> None:
        await storage.workbench.open("b1", {"data": None})
        spec = await storage.spec("runs")
        name = f"stager-{storage.engine.installation}-b1-db"
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1.0):
                await storage.workbench.run("b1", spec, None, "sleep 60", {}, 30.0)
        ours = {labels.INSTALLATION: storage.engine.installation, labels.WORKBENCH: "b1"}
        docker(
            "run", "-d", "--name", name, *(f"--label={k}={v}" for k, v in ours.items()), PYTHON, "sleep", "60"
        )
        await storage.restarted()

        assert await storage.data.sweep() == 2
        assert left(storage) == set()


class Killed(BaseException):
    """Nothing of Stager runs any more."""


def _killed(*_: Any, **__: Any) -> Any:
    raise Killed


def _kill_while_writing(patch: pytest.MonkeyPatch, at: str) -> None:
    """End Stager before or during the writing of a volume, without the clean-up."""
    write = archives.Archives.write

    async def cut(archive: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in archive:
            yield piece[:1536]
            raise OSError

    async def write_and_die(self: archives.Archives, volume: str, archive: AsyncIterator[bytes]) -> None:
        if at == "before":
            raise Killed
        with contextlib.suppress(Exception):
            await write(self, volume, cut(archive))
        raise Killed

    async def stay(self: archives.Archives, name: str) -> None:
        """The container stays, too."""

    patch.setattr(archives.Archives, "write", write_and_die)
    patch.setattr(archives.Archives, "_removed", stay)
