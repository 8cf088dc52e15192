"""The engine `swarm`, and what it changes about applications."""

from __future__ import annotations

from tests.unit.settings.conftest import LoadText

SWARM = "engine: {kind: swarm, registry: 'registry.example.org:443/previews'}\n"
APP = "images: {shop: {build: ., port: 80}}\n"


def test_one_machine_is_the_default(load_text: LoadText) -> None:
    settings = load_text(APP).settings
    assert (settings.engine.kind, settings.engine.registry) == ("docker", "")
    assert not settings.is_swarm


def test_forks_get_no_preview_on_a_swarm(load_text: LoadText) -> None:
    """Without `forks`, which would be refused, the default is another one."""
    settings = load_text(SWARM + APP).settings
    assert settings.is_swarm
    assert settings.engine.registry == "registry.example.org:443/previews"
    assert settings.applications.get("shop").forks == "off"
    assert not settings.builds_forks
    assert load_text(APP).settings.applications.get("shop").forks == "approve"


def test_egress_of_one_machine_may_be_given(load_text: LoadText) -> None:
    """`private` is what a swarm does."""
    assert load_text(SWARM + "images: {shop: {port: 80, egress: private}}").settings.is_swarm
