"""Hosts of previews, made by a template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from stager.control.routing.urls import Urls
from stager.domain.environment import Desired, Environment, EnvironmentKey, RunState
from stager.domain.source import Trust
from stager.ports.store import Transaction
from stager.testing import MemoryStore


@pytest.mark.parametrize("template", ["{slug}-{app}.{domain}", "pr-{slug}.{app}.{domain}"])
@pytest.mark.parametrize("trust", list(Trust))
@pytest.mark.parametrize("name", ["x", "feature/" + "a-long-name-" * 5, "y" * 60])
async def test_no_label_of_a_host_is_too_long(template: str, trust: Trust, name: str) -> None:
    store = MemoryStore()
    addresses = Urls(store, domain="preview.test", template=template)
    key = EnvironmentKey("an-application-with-a-name", f"name:{name}")
    host = await store.read(lambda tx: addresses.allot(tx, key, name, trust))

    assert host.endswith(".preview.test")
    assert all(len(label) <= 63 for label in host.split("."))


def environment(number: int, host: str) -> Environment:
    key = EnvironmentKey.of_name("shop", str(number))
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return Environment(f"env{number}", key, str(number), host, Desired(RunState.RUNNING, 1), now, now)


async def hosts_of(
    *services: str, host: str = "x.preview.test", others: Sequence[Environment] = ()
) -> list[str]:
    store, here = MemoryStore(), environment(1, host)
    addresses = Urls(store, domain="preview.test")

    def work(tx: Transaction) -> dict[str, str]:
        for each in (here, *others):
            tx.save_environment(each)
        return addresses.allot_to_services(tx, here, services)

    return list((await store.write(work)).values())


async def test_a_service_gets_a_host_of_the_same_level() -> None:
    assert await hosts_of("api", "a_b") == ["api--x.preview.test", "a-b--x.preview.test"]


async def test_services_with_the_same_slug_get_different_hosts() -> None:
    first, second = await hosts_of("a_b", "a-b")

    assert first == "a-b--x.preview.test"
    assert re.fullmatch(r"a-b-[0-9a-f]{6}--x\.preview\.test", second)


@pytest.mark.parametrize("service", ["s", "a-service-with-a-name", "s" * 63])
@pytest.mark.parametrize("label", ["l" * 63, "l" * 60, "pr-7"])
async def test_no_label_of_a_services_host_is_too_long(service: str, label: str) -> None:
    [host] = await hosts_of(service, host=f"{label}.preview.test")

    assert len(host.split(".")[0]) <= 63
    assert "--" in host


async def test_a_service_gets_no_host_of_another_preview_and_no_encoded_one() -> None:
    # A slug of the first Stager's rule may contain two dashes.
    [host] = await hosts_of("api", others=[environment(2, "api--x.preview.test")])
    assert host != "api--x.preview.test"
    assert not (await hosts_of("xn"))[0].startswith("xn--")
