"""Hosts of previews, made by a template."""

from __future__ import annotations

import pytest

from stager.control.routing.urls import Urls
from stager.domain.environment import EnvironmentKey
from stager.domain.source import Trust
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
