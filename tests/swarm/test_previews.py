"""Previews on a swarm of three engines: the life of one, what is lost with a node, and what isn't."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.images import service_image
from tests.integration.load import Load
from tests.integration.stager import StagerUnderTest, until
from tests.swarm.cluster import Cluster
from tests.swarm.node import Node

OnSwarm = Callable[..., StagerUnderTest]

SERVE = 'echo booting; mkdir /w; printf "test $VERSION" > /w/index.html; exec httpd -f -p 3000 -h /w'
APP = {"image": "stager-base/static:1", "command": ["sh", "-c", SERVE], "memory": "64m"}
"""Small: each node pulls it."""
LONG = 180.0
"""Seconds for a launch on a machine that is busy with other tests; some 3 s otherwise."""


@pytest.fixture
def on_swarm(cluster: Cluster, make_stager: MakeStager) -> Iterator[OnSwarm]:
    """Makes Stagers on the cluster, whose workers take previews."""
    made: list[StagerUnderTest] = []

    def make(*images: str, **app: Any) -> StagerUnderTest:
        for image in images:
            cluster.load(image)
        engine = {
            "kind": "swarm",
            "registry": cluster.registry,
            "socket": cluster.manager.docker_url,
            "ssh_user": "root",
        }
        stager = make_stager(start=False, engine=engine, images={"shop": {**APP, **app}})
        made.append(stager)
        folder = stager.state / "ssh"
        folder.mkdir(parents=True)
        shutil.copy(cluster.key, folder / "id_ed25519")
        for node in cluster.workers:
            mark_ready(cluster, node, stager)
        stager.start()
        return stager

    yield make
    for stager in made:
        if stager.process is not None and stager.process.runs:
            stager.kill9()


def launch(stager: StagerUnderTest, version: str, name: str = "test") -> None:
    """Launch it, and wait until visitors get this version."""
    assert stager.launch(name, VERSION=version, wait="0").is_success
    until(lambda: stager.get(name).text == f"test {version}", f"{name} shows {version}", LONG)


def mark_ready(cluster: Cluster, node: Node, stager: StagerUnderTest) -> None:
    label = f"stager.ready.{stager.installation}=yes"
    cluster.docker("node", "update", "--label-add", label, cluster.node_id(node))


def containers(stager: StagerUnderTest, node: Node, service: str = "") -> list[str]:
    """The ids of its running containers on a node."""
    filters = ["--filter", f"label=stager.installation={stager.installation}"]
    filters += ["--filter", f"label=stager.service={service}"] if service else []
    return node.docker("ps", "--quiet", *filters).split()


def node_of(cluster: Cluster, stager: StagerUnderTest, service: str = "") -> Node:
    """The one node that runs this service, which runs once."""
    [node] = [node for node in cluster.nodes for _ in containers(stager, node, service)]
    return node


def services(cluster: Cluster, stager: StagerUnderTest) -> list[str]:
    wanted = f"label=stager.installation={stager.installation}"
    return cluster.docker("service", "ls", "--quiet", "--filter", wanted).split()


def left(cluster: Cluster, stager: StagerUnderTest) -> list[str]:
    """What the swarm and all nodes that are on have of this installation."""
    label = ["--quiet", "--filter", f"label=stager.installation={stager.installation}"]
    found = services(cluster, stager)
    for node in (node for node in cluster.nodes if node.is_on):
        for kind in (["ps", "--all"], ["network", "ls"], ["volume", "ls"]):
            found += node.docker(*kind, *label).split()
    return found


async def test_a_launch_pushes_under_load_and_a_kill(cluster: Cluster, on_swarm: OnSwarm) -> None:
    stager = on_swarm()
    await asyncio.to_thread(launch, stager, "0")
    assert stager.get("test").text == "test 0"
    node_of(cluster, stager)  # on one node, once

    async with Load(stager.url, stager.host("test"), ("/",), posts=False) as load:
        for version in ("1", "2"):
            await asyncio.to_thread(launch, stager, version)
        await load.until_answered("test 2")
    assert load.failures == []
    assert {"test 0", "test 1", "test 2"} <= set(load.answers)

    environment = stager.environment("test")
    assert "booting" in stager.text(f"/environments/{environment['id']}/log")
    await asyncio.to_thread(stager.kill, "test")
    until(lambda: not left(cluster, stager), "nothing is left", 90)


async def test_services_run_beside_each_other_and_a_push_keeps_the_database(
    cluster: Cluster, on_swarm: OnSwarm
) -> None:
    database = {"image": service_image("postgres"), "memory": "256m"}
    stager = on_swarm(database["image"], services={"database": database}, memory="384m", start_timeout=LONG)
    await asyncio.to_thread(launch, stager, "0")
    node = node_of(cluster, stager, "database")
    assert node_of(cluster, stager, "web") is node
    [first] = containers(stager, node, "database")
    psql = 'psql -qAt -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c'
    node.docker("exec", first, "sh", "-c", f"{psql} 'create table visits as select 42 as n'")

    await asyncio.to_thread(launch, stager, "1")

    assert stager.get("test").text == "test 1"
    assert containers(stager, node, "database") == [first]
    until(lambda: len(containers(stager, node, "web")) == 1, "the old one is gone")
    assert node_of(cluster, stager, "web") is node
    [web] = containers(stager, node, "web")
    node.docker("exec", web, "sh", "-c", "nc -w 3 database 5432 < /dev/null")
    assert node.docker("exec", first, "sh", "-c", f"{psql} 'select n from visits'") == "42"


async def test_a_sleeping_preview_runs_nowhere_and_a_request_wakes_it(
    cluster: Cluster, on_swarm: OnSwarm
) -> None:
    stager = on_swarm()
    await asyncio.to_thread(launch, stager, "0")
    environment = stager.environment("test")["id"]

    stager.api(f"/environments/{environment}/sleep", "POST")
    stager.wait_for("test", "asleep")
    until(lambda: not any(containers(stager, node) for node in cluster.nodes), "nothing runs")
    assert len(services(cluster, stager)) == 1

    answer = await asyncio.to_thread(stager.get, "test")
    assert (answer.status_code, answer.text) == (200, "test 0")
    stager.wait_for("test", "live")
    assert node_of(cluster, stager)


async def test_previews_of_a_lost_node_come_back_on_another(cluster: Cluster, on_swarm: OnSwarm) -> None:
    stager = on_swarm()
    for name in ("one", "two"):
        await asyncio.to_thread(launch, stager, "0", name)
    places = {name: place_of(cluster, stager, name) for name in ("one", "two")}
    name = next(name for name, node in places.items() if node is not cluster.manager)  # they are spread
    lost = places[name]

    lost.power_off()
    cluster.wait(lost, state="Down")
    shown = await asyncio.to_thread(stager.get, name)
    assert shown.status_code == 200 or shown.json()["state"] in {"starting", "restarting"}, shown.text

    until(lambda: is_live(stager, "one") and is_live(stager, "two"), "both are back", 120)
    assert place_of(cluster, stager, name) is not lost
    until(lambda: running_tasks(cluster, stager) == 2, "each runs once")

    cluster.boot(lost)
    cluster.wait(lost)
    until(lambda: not containers(stager, lost), "the node that returned is empty", 90)
    assert running_tasks(cluster, stager) == 2
    assert is_live(stager, name)


def place_of(cluster: Cluster, stager: StagerUnderTest, name: str) -> Node:
    """The node that runs the preview of this name."""
    wanted = f"label=stager.environment={stager.environment(name)['id']}"
    [node] = [n for n in cluster.nodes if n.is_on and n.docker("ps", "--quiet", "--filter", wanted)]
    return node


def is_live(stager: StagerUnderTest, name: str) -> bool:
    return stager.get(name).status_code == 200


def running_tasks(cluster: Cluster, stager: StagerUnderTest) -> int:
    """How many containers of this installation run on the nodes that are on."""
    return sum(len(containers(stager, node)) for node in cluster.nodes if node.is_on)


async def test_a_control_plane_that_is_killed_drops_nothing(cluster: Cluster, on_swarm: OnSwarm) -> None:
    stager = on_swarm()
    await asyncio.to_thread(launch, stager, "0")
    async with Load(stager.url, stager.host("test"), ("/",), posts=False) as load:
        for delay in (0.3, 1.0, 2.0):
            await asyncio.to_thread(stager.launch, VERSION=str(delay), wait="0")
            await asyncio.sleep(delay)
            await asyncio.to_thread(stager.restart)
        await asyncio.to_thread(launch, stager, "last")
        await load.until_answered("test last")
    assert load.failures == []
    until(lambda: len(services(cluster, stager)) == 1, "only the newest is left")
    assert running_tasks(cluster, stager) == 1


async def test_a_registry_that_is_away_is_named_and_the_preview_goes_on(
    cluster: Cluster, on_swarm: OnSwarm
) -> None:
    stager = on_swarm()
    await asyncio.to_thread(launch, stager, "0")
    cluster.stop_registry()

    await asyncio.to_thread(stager.launch, VERSION="1", wait="0")
    environment = stager.environment("test")["id"]
    page = until(lambda: names_registry(stager, environment), "the page names the registry")
    assert cluster.registry in page
    assert stager.get("test").text == "test 0"

    cluster.start_registry()
    until(lambda: stager.get("test").text == "test 1", "the push is live", 90)


def names_registry(stager: StagerUnderTest, environment: str) -> str:
    page = stager.preview_page(environment)
    return page if "registry" in page else ""
