"""What only real Docker shows of services: packets, files, and what a hostile file can't reach."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stager.domain.environment import Instance, InstanceState
from stager.domain.errors import Fault, Retry
from stager.domain.service import Mount
from stager.engines.docker import DockerInstances, NetworkPool, creator
from stager.ports.engine import Content, InstanceSpec
from stager.testing.fakes.firewall import FakeFirewall
from tests.contracts.engines import POOL, DockerUnderTest, docker_under_test, instance_labels, with_settings
from tests.contracts.services import started

pytestmark = pytest.mark.docker

DATA = Mount("/data", volume="data")
TRY_ALL = """\
import socket, sys
reached = []
for address in sys.argv[1:]:
    try:
        socket.create_connection((address, 8080), 0.5).close()
        reached.append(address)
    except OSError:
        pass
print(*reached)
"""
"""Prints the addresses and names that accept a connection."""


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def inspected(instance: Instance) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(docker("inspect", instance.id))[0]
    return shown


@pytest.fixture
async def engine() -> AsyncIterator[DockerUnderTest]:
    async with docker_under_test() as opened:
        yield opened


async def run(engine: DockerUnderTest, instance: Instance, *command: str) -> str:
    ran = await engine.instances.run(instance.id, command, 60.0)
    assert ran.exit_code == 0, ran.output
    return ran.output.strip()


def addresses(instance: Instance) -> list[str]:
    """Its addresses in all networks."""
    return [each["IPAddress"] for each in inspected(instance)["NetworkSettings"]["Networks"].values()]


def received(instance: Instance) -> int:
    """The IPv4 packets that it received: `InReceives` in proc_pid_net(5), `snmp`."""
    pid = inspected(instance)["State"]["Pid"]
    names, numbers = Path(f"/proc/{pid}/net/snmp").read_text().splitlines()[:2]
    return int(dict(zip(names.split(), numbers.split(), strict=True))["InReceives"])


class TestEnvironments:
    async def test_with_the_same_names_never_reach_each_other(self, engine: DockerUnderTest) -> None:
        both = {}
        for environment in ("e1", "e2"):
            web = await started(engine, "web", environment=environment, mounts=(DATA,))
            database = await started(engine, "db", environment=environment, kept=True, mounts=(DATA,))
            await run(engine, database, "sh", "-c", f"echo {environment} > /data/rows")
            both[environment] = web, database
        (web, database), (other_web, other_database) = both["e1"], both["e2"]
        theirs = [*addresses(other_web), *addresses(other_database)]
        names = [*docker_names(other_web), *docker_names(other_database)]
        await asyncio.sleep(0.5)  # for the last packets of the connections until now
        before = [received(other_web), received(other_database)]

        for mine in (web, database):
            assert await run(engine, mine, "python3", "-c", TRY_ALL, *theirs, *names) == ""
            assert await run(engine, mine, "cat", "/data/rows") == "e1"
        assert [received(other_web), received(other_database)] == before, "a packet arrived"
        assert await engine.reached(web.id, "db") == {"e1-db1"}
        assert await run(engine, web, "python3", "-c", TRY_ALL, *addresses(database)) != ""

    async def test_generations_dont_reach_each_others_replaced_services(
        self, engine: DockerUnderTest
    ) -> None:
        database = await started(engine, "db", kept=True, mounts=(DATA,))
        web1, cache1 = await started(engine, "web"), await started(engine, "cache", kept=True)
        await engine.instances.join(database.id, 2)
        web2, cache2 = await started(engine, "web", 2), await started(engine, "cache", 2, kept=True)

        for mine, others in ((web1, (web2, cache2)), (web2, (web1, cache1))):
            theirs = [place for other in others for place in (*addresses(other), *docker_names(other))]
            assert await run(engine, mine, "python3", "-c", TRY_ALL, *theirs) == ""
        assert await engine.reached(web1.id, "db") == await engine.reached(web2.id, "db") == {"e1-db1"}
        assert await engine.reached(web1.id, "cache") == {"e1-cache1"}
        assert await engine.reached(web2.id, "cache") == {"e1-cache2"}


def docker_names(instance: Instance) -> list[str]:
    """The names that Docker gives it of its own accord."""
    return [inspected(instance)["Name"][1:], instance.id[:12]]


class TestVolumes:
    async def test_data_stays_for_the_next_container_and_fresh_data_doesnt(
        self, engine: DockerUnderTest
    ) -> None:
        more: dict[str, Any] = {
            "kept": True,
            "mounts": (DATA, Mount("/cache", volume="cache"), Mount("/own")),
            "fresh_volumes": frozenset({"cache"}),
        }
        first = await started(engine, "db", **more)
        await run(engine, first, "touch", "/data/x", "/cache/x", "/own/x")
        await engine.instances.remove(first.id)
        second = await started(engine, "db", 2, **more)

        assert await run(engine, second, "ls", "/data", "/cache", "/own") == "/cache:\n\n/data:\nx\n\n/own:"

    async def test_a_read_only_one_cant_be_written(self, engine: DockerUnderTest) -> None:
        web = await started(engine, "web", mounts=(replace(DATA, is_read_only=True),))

        ran = await engine.instances.run(web.id, ("touch", "/data/x"), 10.0)
        assert ran.exit_code != 0
        assert "Read-only" in ran.output

    async def test_the_sizes_are_those_on_disk(self, engine: DockerUnderTest) -> None:
        web = await started(engine, "web", mounts=(DATA,))
        await run(engine, web, "python3", "-c", "open('/data/x', 'wb').write(bytes(3_000_000))")
        async with asyncio.timeout(60):
            while (size := (await engine.instances.volumes("e1"))[0].size) is None:
                await asyncio.sleep(1)  # another program asks Docker, which answers one at a time

        assert 3_000_000 <= size < 3_100_000

    @pytest.mark.parametrize(
        "options",
        [[], ["--opt=type=none", "--opt=o=bind", "--opt=device=/etc"]],
        ids=["another's", "a folder of the host"],
    )
    async def test_one_that_was_there_before_is_refused(
        self, engine: DockerUnderTest, options: list[str]
    ) -> None:
        name = f"stager-{engine.installation}-e1-0-data"
        labels = [f"--label=stager.installation={engine.installation}", "--label=stager.environment=e1"]
        if options:
            labels += ["--label=stager.generation=0", "--label=stager.volume=data"]
        docker("volume", "create", *labels, *options, name)
        with pytest.raises(Fault) as caught:
            await started(engine, "db", mounts=(DATA,))

        assert caught.value.reason == "volume-foreign"
        assert name in caught.value.message
        assert await engine.instances.find() == []

    async def test_no_name_leads_to_another_environments_volume(self, engine: DockerUnderTest) -> None:
        await started(engine, "db", environment="e1", mounts=(DATA,))
        hostile = ["e1-0-data", "0-data", "1-data", f"stager-{engine.installation}-e1-0-data", "data"]
        mounts = tuple(Mount(f"/m{number}", volume=name) for number, name in enumerate(hostile))
        other = await started(engine, "db", environment="e", mounts=mounts)

        mounted = {mount["Name"] for mount in inspected(other)["Mounts"]}
        assert mounted == {f"stager-{engine.installation}-e-0-{name}" for name in hostile}


class TestHostileSpecs:
    """Values from a file of the repository never become the host's."""

    PATHS = ("/etc:/host", "/var/run/docker.sock", "/:/host:rw", "../../etc", "/proc/1/root")

    async def test_no_path_and_no_namespace_of_the_host(self, engine: DockerUnderTest) -> None:
        spec = await engine.service(
            instance_labels(),
            "x",
            network=1,
            aliases=("host", "localhost", "--privileged", "container:x"),
            mounts=tuple(Mount(path) for path in self.PATHS if path.startswith("/")),
        )
        spec = with_settings(
            spec, user="0:0", working_dir="/etc", tmpfs=("/etc/cron.d",), stop_signal="SIGINT"
        )
        instance = await engine.instances.create(spec)

        shown = inspected(instance)
        host = shown["HostConfig"]
        assert {mount["Type"] for mount in shown["Mounts"]} == {"volume"}
        assert not host["Binds"]
        assert not host["VolumesFrom"]
        assert not host["Privileged"]
        assert not host["CapAdd"]
        assert not host["Devices"]
        assert (host["PidMode"], host["UTSMode"], host["UsernsMode"], host["CgroupParent"]) == (
            "",
            "",
            "",
            "",
        )
        assert host["IpcMode"] == "private"
        assert host["NetworkMode"] == instance.network
        assert host["PortBindings"] in ({}, None)
        assert set(host["CapDrop"]) == {"NET_RAW", "MKNOD", "AUDIT_WRITE"}

    async def run(self, engine: DockerUnderTest, spec: InstanceSpec) -> None:
        await engine.instances.start((await engine.instances.create(spec)).id)

    @pytest.mark.parametrize("path", ["../../etc", "relative", "", "/"])
    async def test_an_impossible_target_is_a_clear_error(self, engine: DockerUnderTest, path: str) -> None:
        for mounts, tmpfs in (((Mount(path, volume="x"),), ()), ((), (path,))):
            spec = await engine.service(instance_labels(), "x", network=1, mounts=mounts)
            with pytest.raises(Fault) as caught:
                await self.run(engine, with_settings(spec, tmpfs=tmpfs))
            assert caught.value.reason in ("create-failed", "start-failed")

    async def test_what_a_service_may_set(self, engine: DockerUnderTest) -> None:
        spec = await engine.service(instance_labels(service="web_app"), "x", network=1)
        settings: dict[str, Any] = {
            "entrypoint": ("sh", "-c"),
            "command": ("id -u; pwd; df -m /dev/shm /scratch | awk 'NR>1{print $2}'; hostname; sleep 600",),
            "user": "1234",
            "working_dir": "/usr",
            "tmpfs": ("/scratch",),
            "shared_memory": 8 << 20,
            "stop_signal": "SIGKILL",
        }
        instance = await engine.instances.create(with_settings(spec, **settings))
        await engine.instances.start(instance.id)
        async with asyncio.timeout(10):
            while len((await engine.instances.logs(instance.id, 10)).split()) < 5:
                await asyncio.sleep(0.05)

        assert (await engine.instances.logs(instance.id, 10)).split() == [
            "1234",
            "/usr",
            "8",
            "32",
            "web-app",
        ]
        assert inspected(instance)["Config"]["StopSignal"] == "SIGKILL"

    @pytest.mark.parametrize(
        ("entrypoint", "command", "expected"),
        [
            (None, None, (["echo", "a"], ["b"])),
            (None, ("c",), (["echo", "a"], ["c"])),
            (None, (), (["echo", "a"], None)),
            (("echo",), None, (["echo"], None)),
            ((), ("echo", "d"), (None, ["echo", "d"])),
        ],
    )
    async def test_entrypoint_and_command_replace_the_images(
        self,
        engine: DockerUnderTest,
        entrypoint: tuple[str, ...] | None,
        command: tuple[str, ...] | None,
        expected: tuple[list[str] | None, list[str] | None],
    ) -> None:
        name = f"stager-test/{engine.installation}:1"
        lines = f'FROM {engine.reference}\nENTRYPOINT ["echo", "a"]\nCMD ["b"]\n'
        subprocess.run(["docker", "build", "-q", "-t", name, "-"], input=lines.encode(), check=True)
        try:
            spec = await engine.service(instance_labels(), "x", network=1)
            spec = replace(spec, image=await engine.images.resolve(name))
            instance = await engine.instances.create(
                with_settings(spec, entrypoint=entrypoint, command=command)
            )
            config = inspected(instance)["Config"]
            assert (config["Entrypoint"], config["Cmd"] or None) == expected
        finally:
            docker("rmi", "--force", name)


def archive(files: Mapping[str, bytes | tarfile.TarInfo], mode: int = 0o644) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as made:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                made.addfile(content)
                continue
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.uname = len(content), mode, 4321, "theirs"
            made.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def special(name: str, kind: bytes, target: str = "") -> dict[str, tarfile.TarInfo]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return {name: entry}


class TestContent:
    """Files of the commit in the container."""

    async def with_content(
        self, engine: DockerUnderTest, contents: Sequence[Content], **more: Any
    ) -> Instance:
        mounts = tuple(Mount(each.target, content="x") for each in contents)
        return await started(
            engine, "web", mounts=(*mounts, *more.pop("mounts", ())), content=tuple(contents), **more
        )

    async def test_files_and_folders(self, engine: DockerUnderTest) -> None:
        links = {
            **special("current", tarfile.SYMTYPE, "a/b"),
            **special("out", tarfile.SYMTYPE, "../../srv/run.sh"),
            **special("absolute", tarfile.SYMTYPE, "/etc/app/deep/app.conf"),
        }
        web = await self.with_content(
            engine,
            [
                Content("/etc/app/deep/app.conf", "1", archive({"any": b"hello"})),
                Content("/srv/run.sh", "2", archive({"any": b"#!/bin/sh\n"}, 0o755)),
                Content("/usr/share", "3", archive({"a/b": b"inside", **links}), is_folder=True),
                Content("/etc/hostname2", "4", archive({"any": b""})),
            ],
        )

        assert await run(engine, web, "cat", "/etc/app/deep/app.conf") == "hello"
        assert await run(engine, web, "stat", "-c", "%a %u", "/etc/app/deep/app.conf", "/srv/run.sh") == (
            "644 0\n755 0"
        )
        assert (
            await run(engine, web, "stat", "-c", "%a", "/etc", "/etc/app", "/etc/app/deep") == "755\n755\n755"
        )
        assert await run(engine, web, "ls", "/usr/share") == "a\nabsolute\ncurrent\nout", (
            "the image's files are hidden"
        )
        assert await run(engine, web, "cat", "/usr/share/current") == "inside"
        assert await run(engine, web, "cat", "/usr/share/out") == "#!/bin/sh"
        assert await run(engine, web, "cat", "/usr/share/absolute") == "hello"
        assert await run(engine, web, "ls", "/usr/bin/env")
        assert {mount["Type"] for mount in inspected(web)["Mounts"]} == {"volume"}

    async def test_it_is_there_after_an_end(self, engine: DockerUnderTest) -> None:
        web = await self.with_content(engine, [Content("/etc/x", "1", archive({"x": b"hello"}))])
        await engine.kill(web.id)
        while (await engine.instances.find("e1"))[0].state is not InstanceState.STOPPED:
            await asyncio.sleep(0.02)
        await engine.instances.start(web.id)

        assert await run(engine, web, "cat", "/etc/x") == "hello"

    async def test_inside_a_volume(self, engine: DockerUnderTest) -> None:
        web = await self.with_content(
            engine, [Content("/data/conf/x", "1", archive({"x": b"hello"}))], mounts=(DATA,)
        )

        assert await run(engine, web, "cat", "/data/conf/x") == "hello"

    async def test_a_folder_with_a_read_only_root(self, engine: DockerUnderTest) -> None:
        spec = await engine.service(
            instance_labels(),
            "x",
            network=1,
            mounts=(Mount("/site", content="site"),),
            content=(Content("/site", "1", archive({"x": b"hello"}), is_folder=True),),
        )
        parameters = {"HostConfig": {"ReadonlyRootfs": True}}
        made = await engine.instances.create(with_settings(spec, parameters=parameters))
        instance = await engine.instances.start(made.id)
        assert await run(engine, instance, "cat", "/site/x") == "hello"

        file = replace(spec, content=(Content("/etc/x", "1", archive({"x": b""})),), labels=instance_labels())
        with pytest.raises(Fault) as caught:
            await engine.instances.create(with_settings(file, parameters=parameters, mounts=()))
        assert caught.value.reason == "content-refused"
        assert "read-only" in caught.value.detail

    @pytest.mark.parametrize(
        "files",
        [
            {"../x": b""},
            {"/etc/x": b""},
            {"a/../../x": b""},
            {**special("x", tarfile.SYMTYPE, "a"), "x/y": b""},
            {**special("x", tarfile.SYMTYPE, "/etc"), "x/cron.d/y": b""},
            special("x", tarfile.LNKTYPE, "/etc/passwd"),
            special("x", tarfile.CHRTYPE),
            special("x", tarfile.FIFOTYPE),
        ],
        ids=[
            "parent",
            "absolute",
            "hidden-parent",
            "through-link",
            "through-absolute-link",
            "hard",
            "device",
            "fifo",
        ],
    )
    async def test_a_hostile_archive_leaves_nothing_behind(
        self, engine: DockerUnderTest, files: Mapping[str, bytes | tarfile.TarInfo]
    ) -> None:
        with pytest.raises(Fault) as caught:
            await self.with_content(engine, [Content("/site", "1", archive(files), is_folder=True)])

        assert caught.value.reason == "content-refused"
        ours = f"--filter=label=stager.installation={engine.installation}"
        assert docker("ps", "--all", "--quiet", ours) == ""
        await engine.instances.sweep({})
        assert docker("network", "ls", "--quiet", ours) == docker("volume", "ls", "--quiet", ours) == ""

    @pytest.mark.parametrize("target", ["/link/x", "/link/sub/x"])
    async def test_links_of_the_image_lead_nowhere_outside_the_container(
        self, engine: DockerUnderTest, target: str
    ) -> None:
        name = f"stager-test/{engine.installation}:1"
        lines = "FROM stager-base/python:1\nRUN ln -s ../../../../../../../tmp/stager-outside /link\n"
        subprocess.run(["docker", "build", "-q", "-t", name, "-"], input=lines.encode(), check=True)
        try:
            spec = await engine.service(
                instance_labels(), "x", network=1, content=(Content(target, "1", archive({"x": b"hello"})),)
            )
            spec = replace(spec, image=await engine.images.resolve(name))
            instance = await engine.instances.create(spec)
            await engine.instances.start(instance.id)
            assert await run(engine, instance, "cat", target) == "hello"
        finally:
            docker("rmi", "--force", name)

    async def test_a_container_without_its_content_is_never_used(
        self, engine: DockerUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when Stager is killed while it copies."""
        spec = await engine.service(
            instance_labels(),
            "x",
            network=1,
            mounts=(DATA, Mount("/etc/x", content="x")),
            content=(Content("/etc/x", "1", archive({"x": b"hello"})),),
        )

        async def killed(*_: object) -> None:
            raise KeyboardInterrupt

        for again in (True, False):
            with monkeypatch.context() as patch:
                patch.setattr(creator, "copy_content", killed)
                with pytest.raises(KeyboardInterrupt):
                    await engine.instances.create(spec)
            assert await engine.instances.find() == []
            ours = f"--filter=label=stager.installation={engine.installation}"
            assert len(docker("ps", "--all", "--quiet", ours).split()) == 1
            if again:
                instance = await engine.instances.create(spec)
                await engine.instances.start(instance.id)
                assert await run(engine, instance, "cat", "/etc/x") == "hello"
                assert len(docker("ps", "--all", "--quiet", ours).split()) == 1
                await engine.instances.remove(instance.id)
        await engine.instances.sweep({})
        for kind in (("ps", "--all"), ("network", "ls"), ("volume", "ls")):
            assert docker(*kind, "--quiet", ours) == ""


class TestFirewall:
    """No container starts in or joins a network without rules."""

    @pytest.fixture
    def firewall(self) -> FakeFirewall:
        return FakeFirewall()

    @pytest.fixture
    def guarded(self, engine: DockerUnderTest, firewall: FakeFirewall) -> DockerInstances:
        pool = NetworkPool(engine.docker, engine.installation, POOL, 28)
        return DockerInstances(engine.docker, engine.installation, pool, firewall=firewall)

    async def test_each_network_has_rules_before_a_start(
        self, engine: DockerUnderTest, guarded: DockerInstances, firewall: FakeFirewall
    ) -> None:
        spec = await engine.service(instance_labels(service="db"), "x", network=0)
        created = await guarded.create(spec)
        firewall.guarded.clear()
        started = await guarded.start(created.id)
        assert set(firewall.guarded) == started.networks
        assert len(started.networks) == 2

        await engine.kill(created.id)
        while (await guarded.find("e1"))[0].state is not InstanceState.STOPPED:
            await asyncio.sleep(0.02)
        firewall.guarded.clear()
        await guarded.start(created.id)
        assert set(firewall.guarded) == started.networks

    async def test_none_joins_without_rules(
        self, engine: DockerUnderTest, guarded: DockerInstances, firewall: FakeFirewall
    ) -> None:
        spec = await engine.service(instance_labels(service="db"), "x", network=0)
        database = await guarded.start((await guarded.create(spec)).id)
        firewall.leave()
        with pytest.raises(Retry) as caught:
            await guarded.join(database.id, 2)
        assert caught.value.reason == "unguarded"
        assert (await guarded.find("e1"))[0].generations == {1}

        firewall.come_back()
        joined = await guarded.join(database.id, 2)
        assert joined.networks <= set(firewall.guarded)

    async def test_a_renewal_covers_all_networks(
        self, engine: DockerUnderTest, guarded: DockerInstances, firewall: FakeFirewall
    ) -> None:
        spec = await engine.service(instance_labels(service="db"), "x", network=0)
        database = await guarded.join((await guarded.create(spec)).id, 2)
        await firewall.renew(await guarded.find_with_labels())

        assert set(firewall.guarded) == database.networks
        assert len(firewall.guarded) == 3
