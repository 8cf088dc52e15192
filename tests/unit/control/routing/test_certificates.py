"""Which certificates are ordered, for whom, and what is reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from stager.control.routing.certificates import CertificateManager
from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.domain.errors import Fault
from stager.domain.route import Endpoint, Page, RouteTable
from stager.testing import FakeCertificates, FakeClock, FakeRouter, MemoryStore

DOMAIN = "demo.example.org"
SHOP, OTHER, GONE = (f"{name}.{DOMAIN}" for name in ("shop", "other", "gone"))
APP = Endpoint("10.0.0.1", 80)
DAY = 86_400
FAULT = Fault("The issuer can't verify it.", hint="Open port 80.", reason="acme-unverified")


class Rig:
    def __init__(self, *, has_wildcards: bool = False, domain: str = DOMAIN, limit: int = 40) -> None:
        self.clock = FakeClock()
        self.router = FakeRouter()
        self.certificates = FakeCertificates(self.clock.now, has_wildcards=has_wildcards, weekly_limit=limit)
        self.routes = Routes(self.router)
        urls = Urls(MemoryStore(), domain=domain, scheme="https")
        self.manager = CertificateManager(self.certificates, self.routes, urls, self.clock)
        self.problems: dict[str, str] = {}

    async def route(self, *hosts: str) -> None:
        table = RouteTable(dict.fromkeys(hosts, APP), DOMAIN).upsert(GONE, Page("gone"))
        await self.routes.apply(table)

    async def check(self) -> list[str]:
        """Check once; returns the names that were ordered."""
        await self.manager.check(self.problems.__setitem__)
        return await self.ordered()

    async def ordered(self) -> list[str]:
        await asyncio.sleep(0.01)
        orders, self.certificates.orders = self.certificates.orders, []
        return orders


@pytest.fixture
async def each() -> AsyncIterator[Rig]:
    """One certificate for each host."""
    rig = Rig()
    await rig.route(SHOP, OTHER)
    yield rig
    await rig.manager.close()


class TestOnRequest:
    async def test_the_home_is_ordered_at_the_start(self, each: Rig) -> None:
        assert await each.check() == [DOMAIN]
        assert await each.check() == []

    async def test_a_host_is_ordered_on_request(self, each: Rig) -> None:
        each.manager.request(SHOP)
        assert await each.ordered() == [SHOP]
        each.manager.request(SHOP)
        assert await each.ordered() == []

    @pytest.mark.parametrize("host", [f"unknown.{DOMAIN}", GONE, "evil.example.com", "", "localhost"])
    async def test_unknown_hosts_are_not(self, each: Rig, host: str) -> None:
        each.manager.request(host)
        assert await each.ordered() == []

    async def test_many_requests_make_one_order(self, each: Rig) -> None:
        each.certificates.gate.clear()
        for _ in range(100):
            each.manager.request(SHOP)
            await asyncio.sleep(0)
        each.certificates.gate.set()
        assert await each.ordered() == [SHOP]

    async def test_the_requests_of_the_front_are_followed(self, each: Rig) -> None:
        following = asyncio.create_task(each.manager.follow(each.router))
        await asyncio.sleep(0.01)
        each.router.request_certificate(SHOP)
        assert await each.ordered() == [SHOP]
        following.cancel()

    async def test_after_a_failure_a_request_waits(self, each: Rig) -> None:
        each.certificates.error = FAULT
        each.manager.request(SHOP)
        assert await each.ordered() == [SHOP]
        each.manager.request(SHOP)
        assert await each.ordered() == []
        each.clock.advance(15 * 60)
        each.manager.request(SHOP)
        assert await each.ordered() == [SHOP]

    async def test_the_limit(self) -> None:
        rig = Rig(limit=2)
        hosts = [f"{name}.{DOMAIN}" for name in "abc"]
        await rig.route(*hosts)
        for host in hosts:
            rig.manager.request(host)
            await asyncio.sleep(0.01)
        assert await rig.ordered() == hosts[:2]
        assert await rig.check() == []
        assert "`certificates_per_week` is reached" in rig.problems["certificates"]
        rig.clock.advance(7 * DAY)
        assert await rig.check() == [DOMAIN]
        await rig.check()
        assert rig.problems["certificates"] == ""

    async def test_hosts_are_renewed_as_long_as_they_exist(self, each: Rig) -> None:
        each.manager.request(SHOP)
        await each.check()
        each.clock.advance(61 * DAY)
        assert sorted(await each.check()) == [DOMAIN, SHOP]
        await each.route()
        each.clock.advance(61 * DAY)
        assert await each.check() == [DOMAIN]
        assert SHOP in each.certificates.stored(), "it may be reopened"
        each.clock.advance(61 * DAY)
        await each.check()
        assert SHOP not in each.certificates.stored()


class TestWildcards:
    async def test_they_are_ordered_without_a_request(self) -> None:
        rig = Rig(has_wildcards=True)
        await rig.route(SHOP)
        assert await rig.check() == [DOMAIN, f"*.{DOMAIN}"]
        rig.manager.request(SHOP)
        assert await rig.ordered() == []

    async def test_they_replace_those_of_single_hosts(self, each: Rig) -> None:
        """Those were ordered before `tls.acme.dns` was set. The front prefers them, and they aren't
        renewed."""
        each.manager.request(SHOP)
        await each.check()
        each.certificates.error = FAULT
        each.manager.request(OTHER)
        await each.ordered()
        each.certificates.error = None
        assert (set(each.certificates.stored()), set(each.certificates.failures())) == (
            {DOMAIN, SHOP},
            {OTHER},
        )
        each.certificates.has_wildcards = True
        assert await each.check() == [f"*.{DOMAIN}"]
        await each.check()
        assert set(each.certificates.stored()) == {DOMAIN, f"*.{DOMAIN}"}
        assert each.certificates.failures() == {}

    async def test_those_of_removed_hosts_stay_while_they_are_valid(self) -> None:
        rig = Rig(has_wildcards=True)
        await rig.route(f"a.{SHOP}")
        await rig.check()
        await rig.route()
        await rig.check()
        assert f"*.{SHOP}" in rig.certificates.stored()

    async def test_a_deeper_host_gets_its_own(self) -> None:
        rig = Rig(has_wildcards=True)
        await rig.check()
        await rig.ordered()
        await rig.route(f"a.{SHOP}")
        assert await rig.check() == [f"*.{SHOP}"]

    async def test_a_local_domain_has_none(self) -> None:
        rig = Rig(has_wildcards=True, domain="demo.localhost")
        assert await rig.check() == []


class TestProblems:
    async def test_a_failed_order_of_the_home(self, each: Rig) -> None:
        each.certificates.error = FAULT
        assert await each.check() == [DOMAIN]
        await each.check()
        problem = f"There is no valid certificate for {DOMAIN}: The issuer can't verify it."
        assert each.problems == {"certificates": problem}
        each.certificates.error = None
        each.clock.advance(15 * 60)
        await each.check()
        await each.check()
        assert each.problems == {"certificates": ""}

    async def test_a_failed_renewal_is_one_only_when_the_old_one_has_expired(self, each: Rig) -> None:
        await each.check()
        each.certificates.error = FAULT
        each.clock.advance(61 * DAY)
        await each.check()
        await each.check()
        assert each.problems == {"certificates": ""}
        each.clock.advance(30 * DAY)
        await each.check()
        assert "There is no valid certificate" in each.problems["certificates"]

    async def test_a_failed_order_of_a_preview_is_none(self, each: Rig) -> None:
        await each.check()
        each.certificates.error = FAULT
        each.manager.request(SHOP)
        await each.check()
        assert each.problems == {"certificates": ""}
        assert SHOP in each.certificates.failures()


async def test_orders_of_hosts_run_side_by_side() -> None:
    rig = Rig()
    hosts = [f"{name}.{DOMAIN}" for name in "abcdef"]
    await rig.route(*hosts)
    rig.certificates.gate.clear()
    for host in hosts:
        rig.manager.request(host)
    assert await rig.ordered() == hosts[:4]
    rig.certificates.gate.set()
    assert await rig.ordered() == hosts[4:]


async def test_short_lifetimes() -> None:
    rig = Rig()
    rig.certificates._lifetime = timedelta(days=6)
    await rig.check()
    rig.clock.advance(4 * DAY)
    assert await rig.check() == [DOMAIN]
