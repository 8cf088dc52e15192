"""What everything that stands before the data plane promises. Each test runs against nginx's files,
HAProxy's file, and the edge proxy in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from stager.domain.errors import StagerError
from stager.domain.route import Endpoint, Page, RouteTable
from stager.ports.router import EdgeProxy
from stager.routers.haproxy import Haproxy, HaproxyRouter, Site, Target, shipped_template
from stager.routers.nginx import Nginx, NginxRouter, load_template
from stager.testing import FakeEdgeProxy

DOMAIN = "stage.test"
A, B, C = (f"{name}.{DOMAIN}" for name in "abc")
SOMEWHERE = Endpoint("10.200.0.1", 80)


class Rig(Protocol):
    """An outpost under test, and what can be seen of it."""

    edge_proxy: EdgeProxy

    def upstreams(self) -> Mapping[str, int]:
        """Where it leads."""

    def refuse(self, host: str) -> None:
        """Have it take nothing for this host from now on."""

    def fail(self) -> None:
        """Have it take nothing at all from now on."""


class FakeRig:
    def __init__(self) -> None:
        self._fake = FakeEdgeProxy()
        self.edge_proxy: EdgeProxy = self._fake

    def upstreams(self) -> Mapping[str, int]:
        return self._fake.upstreams

    def refuse(self, host: str) -> None:
        self._fake.refusing[host] = "It won't."

    def fail(self) -> None:
        self._fake.failing = StagerError("It can't.", reason="outpost-away")


class NginxRig:
    def __init__(self, folder: Path) -> None:
        self._sites, self._no = folder / "sites", folder / "no"
        self._sites.mkdir()
        # It reads its files again unless a test makes it fail; nginx's own answers are tested elsewhere.
        reload = ["sh", "-c", f"test ! -e {self._no}"]
        self.edge_proxy: EdgeProxy = NginxRouter(
            template=load_template(None),
            folder=self._sites,
            scratch=folder / "scratch",
            installation="test-me",
            nginx=Nginx(folder / "scratch", [], reload),
        )

    def upstreams(self) -> Mapping[str, int]:
        found = {}
        for path in self._sites.glob("[!.]*"):
            text = path.read_text()
            host = re.search(r"server_name (\S+);", text)
            port = re.search(r"server 127\.0\.0\.1:(\d+);", text)
            if host and port:
                found[host[1]] = int(port[1])
        return found

    def refuse(self, host: str) -> None:
        (self._sites / host.partition(".")[0]).write_text("# somebody else's\n")

    def fail(self) -> None:
        self._no.touch()


class HaproxyRig:
    def __init__(self, folder: Path) -> None:
        self._target, self._refused, self._no = folder / "haproxy.cfg", folder / "refused", folder / "no"
        self._refused.touch()
        # It refuses files with certain words, and reloads unless a test makes it fail; HAProxy itself is
        # tested elsewhere.
        test = f"! grep --word-regexp --file={self._refused} $0"
        self.edge_proxy: EdgeProxy = HaproxyRouter(
            template=shipped_template(),
            site=Site("*:80", "127.0.0.1:8000"),
            target=Target(self._target, folder / "scratch", "test-me"),
            haproxy=Haproxy(["sh", "-c", test], ["sh", "-c", f"test ! -e {self._no}"]),
        )

    def upstreams(self) -> Mapping[str, int]:
        found = re.findall(
            r"^backend stager:(\S+) from stager\n(?: +(?!server).*\n)* +server preview 127\.0\.0\.1:(\d+)$",
            self._target.read_text(),
            re.MULTILINE,
        )
        return {host: int(port) for host, port in found}

    def refuse(self, host: str) -> None:
        self._refused.write_text(f"{host}\n")

    def fail(self) -> None:
        self._no.touch()


RIGS: dict[str, Callable[[Path], Rig]] = {
    "memory": lambda _: FakeRig(),
    "nginx": NginxRig,
    "haproxy": HaproxyRig,
}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


def table(**ports: int) -> RouteTable:
    """Hosts by their first label, with these ports."""
    hosts = {f"{name}.{DOMAIN}": port for name, port in ports.items()}
    return RouteTable(
        dict.fromkeys(hosts, SOMEWHERE), DOMAIN, None, {port: host for host, port in hosts.items()}
    )


async def test_it_leads_to_every_door_and_to_no_other(rig: Rig) -> None:
    assert await rig.edge_proxy.apply(table(a=1, b=2)) == {}
    assert rig.upstreams() == {A: 1, B: 2}
    assert await rig.edge_proxy.apply(table(b=3, c=1)) == {}
    assert rig.upstreams() == {B: 3, C: 1}
    assert await rig.edge_proxy.apply(RouteTable()) == {}
    assert rig.upstreams() == {}


async def test_what_is_gone_has_no_door(rig: Rig) -> None:
    await rig.edge_proxy.apply(table(a=1, b=2))
    await rig.edge_proxy.apply(table(a=1, b=2).upsert(A, Page("gone")))
    assert rig.upstreams() == {B: 2}


async def test_the_same_again_changes_nothing(rig: Rig) -> None:
    for _ in range(3):
        assert await rig.edge_proxy.apply(table(a=1)) == {}
        assert rig.upstreams() == {A: 1}


async def test_one_that_it_refuses_costs_no_other(rig: Rig) -> None:
    rig.refuse(B)
    problems = await rig.edge_proxy.apply(table(a=1, b=2, c=3))
    assert problems.keys() == {B}
    assert problems[B].endswith(".")
    assert B not in problems[B]
    assert rig.upstreams() == {A: 1, C: 3}


async def test_what_fails_changes_nothing(rig: Rig) -> None:
    await rig.edge_proxy.apply(table(a=1, b=2))
    rig.fail()
    with pytest.raises(StagerError):
        await rig.edge_proxy.apply(table(b=5, c=3))
    assert rig.upstreams() == {A: 1, B: 2}
