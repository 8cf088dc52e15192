"""What only Docker can do to us."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from stager.domain.errors import Fault, Retry
from stager.domain.profile import ProfileName, profile_name
from stager.domain.source import Trust
from stager.engines.docker import DockerImages, DockerInstances, NetworkPool, connect
from stager.engines.docker.exec_in_container import run_inside
from stager.engines.docker.network import listening_ports
from stager.engines.docker.network.pool import Lease, NetworkKey, bridge_of
from stager.engines.docker.network.prepared_networks import MAX_PREPARED
from stager.ports.engine import Checked, Ran
from stager.testing.fakes.firewall import FakeFirewall
from tests.contracts.engines import IMAGE, POOL, docker_under_test, instance_labels, with_settings


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def committed() -> Iterator[str]:
    """A name for an image."""
    name = "stager-test/committed:1"
    yield name
    subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)


@pytest.mark.docker
@pytest.mark.requirement("R30")
async def test_what_people_run_of_an_image_committed_from_ours_isnt_ours(committed: str) -> None:
    """Such an image hands on the labels of the container that it was made from."""
    async with docker_under_test() as engine:
        ours = await engine.instances.create(await engine.spec("runs", instance_labels()))
        await engine.instances.start(ours.id)
        docker("commit", ours.id, committed)
        theirs = docker("run", "--detach", committed)
        try:
            assert [i.id for i in await engine.instances.find()] == [ours.id]
            assert [i.id for i in await engine.instances.find("e1")] == [ours.id]
            assert [i.id for i, _ in await engine.instances.find_with_labels()] == [ours.id]
        finally:
            docker("rm", "--force", theirs)


FORMER_LABELS = {
    "unversioned": {"stager.instance": "{id}"},
    "of another version": {"stager.installation": "{id}", "stager.schema": "0"},
}


@pytest.mark.docker
@pytest.mark.parametrize("former", FORMER_LABELS.values(), ids=FORMER_LABELS.keys())
async def test_containers_with_the_labels_of_another_version_are_removed(
    former: Mapping[str, str], committed: str
) -> None:
    """They aren't adopted half understood. What people run of an image that inherited the labels stays."""
    async with docker_under_test() as engine:
        labels = {name: value.format(id=engine.installation) for name, value in former.items()}
        labels |= {"stager.environment": "e1", "stager.deployment": "d1", "stager.generation": "1"}
        words = [f"--label={name}={value}" for name, value in labels.items()]
        network = docker("network", "create", words[0], f"stager-{engine.installation}-10.0.0.0")
        old = docker(
            "run", "--detach", *words, f"--network={network}",
            f"--name=stager-{engine.installation}-d1", IMAGE, "sleep", "600",
        )  # fmt: skip
        docker("commit", old, committed)
        theirs = docker("run", "--detach", committed)
        current = await engine.instances.create(await engine.spec("runs", instance_labels()))
        try:
            assert [i.id for i in await engine.instances.find()] == [current.id]
            assert await engine.instances.sweep() == 2
            left = docker("ps", "--all", "--quiet", "--no-trunc").split()
            assert old not in left
            assert {theirs, current.id} <= set(left)
            assert network not in docker("network", "ls", "--quiet", "--no-trunc").split()
        finally:
            for container in (old, theirs):
                subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)
            subprocess.run(["docker", "network", "rm", network], capture_output=True, check=False)


@pytest.mark.docker
async def test_an_instance_without_a_log_can_be_removed() -> None:
    async with docker_under_test() as engine:
        spec = await engine.spec("runs", instance_labels())
        silent = {"HostConfig": {"LogConfig": {"Type": "none", "Config": {}}}}
        made = await engine.instances.create(with_settings(spec, parameters=silent))
        await engine.instances.start(made.id)

        assert await engine.instances.logs(made.id, 10) == ""


def networks(installation: str) -> list[str]:
    named = docker(
        "network", "ls", "--filter", f"label=stager.installation={installation}", "--format", "{{.Name}}"
    )
    return named.split()


@pytest.mark.docker
async def test_the_network_is_made_ahead() -> None:
    async with docker_under_test() as engine:
        async with engine.instances.prepared("e1", ProfileName.STANDARD), asyncio.timeout(20):
            while not networks(engine.installation):
                await asyncio.sleep(0.05)
            made = await engine.instances.create(await engine.spec("runs", instance_labels()))
        assert networks(engine.installation) == [made.network]


@pytest.mark.docker
async def test_a_prepared_network_is_used_or_removed() -> None:
    async with docker_under_test() as engine:
        for number in (0, 1):
            for _ in ("the first attempt fails", "again"):
                async with engine.instances.prepared("e1", ProfileName.STANDARD, number), asyncio.timeout(20):
                    while len(networks(engine.installation)) <= number:
                        await asyncio.sleep(0.05)
            spec = replace(await engine.spec("runs", instance_labels()), network=number)
            made = await engine.instances.create(spec)
            assert made.network in networks(engine.installation)
            assert len(networks(engine.installation)) == number + 1

        async with engine.instances.prepared("e2", ProfileName.STANDARD), asyncio.timeout(20):
            while len(networks(engine.installation)) < 3:
                await asyncio.sleep(0.05)
        assert await engine.instances.sweep() == 1
        other = await engine.instances.create(await engine.spec("runs", instance_labels("e2")))
        assert other.network in networks(engine.installation)


@pytest.mark.docker
async def test_a_network_that_cannot_be_made_ahead_is_made_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def make(*_: object) -> str:
        raise Retry("No free subnet was found.", reason="no-subnet")

    monkeypatch.setattr(NetworkPool, "create", make)
    async with docker_under_test() as engine:
        async with engine.instances.prepared("e1", ProfileName.STANDARD):
            made = await engine.instances.create(await engine.spec("runs", instance_labels()))
        assert networks(engine.installation) == [made.network]


@pytest.mark.docker
async def test_no_more_than_a_few_networks_are_made_ahead() -> None:
    """An instance without a prepared network gets one of its own."""
    async with docker_under_test() as engine, AsyncExitStack() as stack:
        environments = [f"e{number}" for number in range(MAX_PREPARED + 1)]
        for environment in environments:
            await stack.enter_async_context(engine.instances.prepared(environment, ProfileName.STANDARD))
        async with asyncio.timeout(20):
            while len(networks(engine.installation)) < MAX_PREPARED:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        assert len(networks(engine.installation)) == MAX_PREPARED
        last = await engine.instances.create(await engine.spec("runs", instance_labels(environments[-1])))
        assert last.network in networks(engine.installation)
        assert len(networks(engine.installation)) == MAX_PREPARED + 1


async def test_an_image_isnt_missing_because_docker_is_away(tmp_path: Path) -> None:
    away = connect(f"unix://{tmp_path}/docker.sock")
    try:
        with pytest.raises(Retry):
            await DockerImages(away).resolve(IMAGE)
    finally:
        await away.close()


@pytest.mark.docker
@pytest.mark.parametrize("by_stager", [True, False])
async def test_a_check_of_the_image_is_run_by_stager_or_by_docker(committed: str, by_stager: bool) -> None:
    """Never by both. Stager doesn't wait for Docker's interval."""
    async with docker_under_test() as engine:
        image = checked_image(committed, "HEALTHCHECK --interval=5m --timeout=2s CMD echo $$ is fine")
        spec = with_settings(await engine.spec("runs", instance_labels()), has_healthcheck=by_stager)
        spec = replace(spec, image=image)
        made = await engine.instances.create(spec)
        await engine.instances.start(made.id)

        checked = await engine.instances.check(made.id)
        assert checked
        assert checked.healthy
        assert checked.output.endswith(" is fine\n")
        by_docker = docker("inspect", "--format", "{{json .State.Health}}", made.id)
        assert (by_docker == "null") is by_stager


@pytest.mark.docker
async def test_a_check_of_the_administrator_overrides_that_of_the_image(committed: str) -> None:
    async with docker_under_test() as engine:
        image = checked_image(committed, "HEALTHCHECK CMD exit 1")
        spec = with_settings(await engine.spec("runs", instance_labels()), has_healthcheck=True)
        spec = replace(spec, image=image)
        for test, result in ((["CMD", "true"], Checked(healthy=True)), (["NONE"], None)):
            mine = replace(
                with_settings(spec, parameters={"Healthcheck": {"Test": test}}), labels=instance_labels()
            )
            made = await engine.instances.create(mine)
            await engine.instances.start(made.id)
            assert await engine.instances.check(made.id) == result


@pytest.mark.docker
@pytest.mark.parametrize(
    ("line", "healthy"),
    [
        ('HEALTHCHECK CMD ["curl", "-f", "http://localhost"]', None),
        ("HEALTHCHECK CMD curl -f http://localhost || exit 1", None),
        ("HEALTHCHECK CMD exit 127", None),
        ("HEALTHCHECK --timeout=1s CMD echo begun; sleep 60", False),
        ('SHELL ["/bin/no-shell", "-c"]\nHEALTHCHECK CMD true', None),
        ("HEALTHCHECK NONE", ...),
    ],
)
async def test_checks_of_images(committed: str, line: str, healthy: bool | None) -> None:
    async with docker_under_test() as engine:
        image = checked_image(committed, line)
        spec = with_settings(await engine.spec("runs", instance_labels()), has_healthcheck=True)
        spec = replace(spec, image=image)
        made = await engine.instances.create(spec)
        await engine.instances.start(made.id)
        checked = await engine.instances.check(made.id)

        assert (checked.healthy if checked else ...) is healthy


def checked_image(name: str, lines: str) -> str:
    """Make an image of this name whose Dockerfile has these lines."""
    dockerfile = f"FROM {IMAGE}\n{lines}\n"
    building = ["docker", "build", "--quiet", "--tag", name, "-"]
    done = subprocess.run(building, input=dockerfile, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.docker
async def test_where_it_listens_is_found_without_a_shell_or_on_another_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[str] = []

    async def noting(*given: Any) -> Ran:
        ran.append(given[1])
        return await run_inside(*given)

    monkeypatch.setattr(listening_ports, "run_inside", noting)
    async with docker_under_test() as engine:
        made = await engine.instances.create(await engine.spec("serves", instance_labels()))
        await engine.instances.start(made.id)
        async with asyncio.timeout(5):
            while not await engine.instances.listeners(made.id):
                await asyncio.sleep(0.05)
        by_process = await engine.instances.listeners(made.id)
        assert ran == []

        monkeypatch.setattr(listening_ports, "PROC", tmp_path)  # as where the engine is on another host
        assert await engine.instances.listeners(made.id) == by_process
        assert ran == [made.id]


def test_another_process_with_the_same_id_is_ignored() -> None:
    assert listening_ports._of_process(os.getpid(), "0" * 64) is None


@pytest.mark.docker
@pytest.mark.parametrize(
    ("lines", "command", "says"),
    [
        (r"RUN printf '#!/bin/sh\r\ntrue\r\n' > /run.sh; chmod +x /run.sh", ("/run.sh",), "carriage return"),
        (r"RUN printf '#!/bin/bash\ntrue\n' > /run.sh; chmod +x /run.sh", ("/run.sh",), "`/bin/bash`"),
        (r"RUN printf '#!/bin/sh\ntrue\n' > /run.sh", ("/run.sh",), "--chmod=+x"),
        (r"RUN printf '#!/no/env sh\n' > /r; chmod +x /r; ln -s /r /l", ("/l",), "`/no/env`"),
        (
            "RUN mkdir /app; printf '#!/nothing' > /app/r; chmod +x /app/r\nWORKDIR /app",
            ("./r",),
            "`/nothing`",
        ),
        ("", ("/not/there",), "The image has no file `/not/there`"),
        ("", ("gulp", "serve"), "no program `gulp`"),
        ('ENTRYPOINT ["echo"]', ("echo", "hunter2"), "`echo echo ...`"),
        ('ENTRYPOINT ["echo", "x"]\nCMD ["y"]', (), ""),
        ("CMD exit 3", (), ""),
        ("", ("sh", "-c", "exit 3"), ""),
    ],
)
@pytest.mark.parametrize("with_init", [True, False])
async def test_diagnosis_of_an_exit_at_the_start(
    committed: str, lines: str, command: tuple[str, ...], says: str, with_init: bool
) -> None:
    async with docker_under_test() as engine:
        image = checked_image(committed, lines)
        parameters = {} if with_init else {"HostConfig": {"Init": False}}
        spec = await engine.spec("runs", instance_labels())
        spec = with_settings(replace(spec, image=image), command=command or None, parameters=parameters)
        made = await engine.instances.create(spec)
        try:
            await engine.instances.start(made.id)
        except Fault as error:
            assert not with_init
            found = error.hint
        else:
            docker("wait", made.id)
            found = await engine.instances.post_mortem(made.id, await engine.instances.logs(made.id, 10))
        assert says in found
        assert bool(says) == bool(found)
        assert "hunter2" not in found


@pytest.mark.docker
async def test_one_that_was_removed_has_no_diagnosis() -> None:
    async with docker_under_test() as engine:
        assert await engine.instances.post_mortem("0" * 64, "exec /x: no such file") == ""


@pytest.mark.docker
async def test_code_from_forks_shares_no_network_with_trusted_code() -> None:
    """The firewall distinguishes them by the bridge's name."""
    async with docker_under_test() as engine:
        networks: dict[Trust, set[str]] = {}
        for generation, trust in enumerate((Trust.TRUSTED, Trust.FORK, Trust.TRUSTED, Trust.FORK)):
            labels = replace(instance_labels("e1", generation), trust=trust, profile=profile_name(trust))
            spec = await engine.spec("runs", labels)
            networks.setdefault(trust, set()).add((await engine.instances.create(spec)).network)
        [trusted], [untrusted] = networks[Trust.TRUSTED], networks[Trust.FORK]
        assert trusted != untrusted
        for trust, network in ((Trust.TRUSTED, trusted), (Trust.FORK, untrusted)):
            made = await (await engine.docker.networks.get(network)).show()
            bridge = bridge_of(engine.installation, network, profile_name(trust))
            assert made["Options"]["com.docker.network.bridge.name"] == bridge


def made_by_an_earlier_release(installation: str) -> str:
    """A network of an installation, whose bridge's name the firewall's rules don't have."""
    name = f"stager-{installation}-10.213.255.240"
    docker(
        "network", "create", f"--label=stager.installation={installation}", "--subnet=10.213.255.240/28",
        f"--opt=com.docker.network.bridge.name=pvt{secrets.token_hex(4)}", name,
    )  # fmt: skip
    return name


@pytest.mark.docker
async def test_no_code_starts_in_a_network_without_rules_for_its_bridge() -> None:
    async with docker_under_test() as engine:
        old, firewall = made_by_an_earlier_release(engine.installation), FakeFirewall()
        stale = LeasedAs(old)
        before = DockerInstances(engine.docker, engine.installation, stale)
        first = await before.create(await engine.spec("runs", instance_labels("e1", 1)))
        assert first.network == old

        pool = NetworkPool(engine.docker, engine.installation, POOL, 28)
        after = DockerInstances(engine.docker, engine.installation, pool, firewall=firewall)
        second = await after.create(await engine.spec("runs", instance_labels("e1", 2)))
        assert second.network != old
        await after.start(second.id)
        with pytest.raises(Retry) as caught:
            await after.start(first.id)
        assert caught.value.reason == "network-unknown"
        assert [instance.id for instance in await after.find("e1")] == [second.id]
        assert list(firewall.guarded) == [second.network]


class LeasedAs(NetworkPool):
    """Gives out a place in one network, as a release did that named bridges otherwise."""

    def __init__(self, network: str) -> None:
        self._network = network

    async def lease(self, key: NetworkKey, network: str, taken: Iterable[str]) -> Lease:
        return Lease(self._network, "10.213.255.242")

    def release(self, network: str) -> None:
        pass


@pytest.mark.docker
async def test_containers_that_didnt_change_arent_inspected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with docker_under_test() as engine:
        events = engine.instances.events()
        following = asyncio.create_task(_follow(events))
        await asyncio.sleep(0.5)
        first = await engine.instances.create(await engine.spec("runs", instance_labels()))
        await engine.instances.start(first.id)
        async with asyncio.timeout(10):
            while not engine.instances._inspections._follows:  # type: ignore[attr-defined]
                await asyncio.sleep(0.02)
        expected = await engine.instances.find("e1")

        asked: list[str] = []
        inspect = engine.instances._inspect  # type: ignore[attr-defined]

        async def noting(container: str) -> object:
            asked.append(container)
            return await inspect(container)

        monkeypatch.setattr(engine.instances, "_inspect", noting)
        assert await engine.instances.find("e1") == expected
        assert asked == []
        docker("restart", "--time=0", first.id)
        async with asyncio.timeout(10):
            while (await engine.instances.find("e1"))[0].run == expected[0].run:
                await asyncio.sleep(0.02)
        docker("kill", first.id)
        async with asyncio.timeout(10):
            while (await engine.instances.find("e1"))[0].exit_code is None:
                await asyncio.sleep(0.02)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _follow(events: AsyncIterator[str]) -> None:
    async for _ in events:
        pass


FOUR = IPv4Network("10.213.254.0/26")
"""A pool of four subnets."""


def routes(*networks: str) -> str:
    """What `/proc/net/route` says of these networks (proc(5))."""
    lines = ["Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT"]
    for network in map(IPv4Network, networks):
        address, mask = (
            f"{int.from_bytes(each.packed, 'little'):08X}"
            for each in (network.network_address, network.netmask)
        )
        lines.append(f"tun0 {address} 00000000 0001 0 0 0 {mask} 0 0 0")
    return "\n".join(lines)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("is_shared", "free"),
    [(False, {"10.213.254.32/28", "10.213.254.48/28"}), (True, {"10.213.254.32/27"})],
    ids=["one service", "several services"],
)
async def test_a_subnet_with_a_route_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_shared: bool, free: set[str]
) -> None:
    """Docker would: it compares subnets with those of its own networks only."""
    table = tmp_path / "route"
    monkeypatch.setattr("stager.engines.docker.network.pool.ROUTES", table)
    table.write_text(routes("0.0.0.0/0", "10.213.254.0/27", "10.213.255.0/24"))
    async with docker_under_test() as engine:
        pool = NetworkPool(engine.docker, engine.installation, FOUR, 28)
        key = NetworkKey("e1", ProfileName.STANDARD, is_shared=is_shared)
        made = await (await engine.docker.networks.get(await pool.create(key))).show()
        assert made["IPAM"]["Config"][0]["Subnet"] in free
        table.write_text(routes("10.213.0.0/16"))
        with pytest.raises(Retry) as caught:
            await pool.create(NetworkKey("e2", ProfileName.STANDARD))
        assert caught.value.reason == "no-subnet"
