"""Whose code is built where, and the error if it can't be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from stager.domain.errors import Refused, Retry
from stager.domain.profile import Destination, Egress
from stager.domain.recipe import Recipe
from stager.engines.docker import BuildxBuilder, HelperFirewall, connect
from stager.engines.docker.build import buildx
from stager.engines.docker.build.by_trust import UNSAFE, BuilderByTrust
from stager.engines.docker.build.untrusted import Lending, UntrustedBuilder
from stager.engines.docker.diagnostics import UntrustedBuildCheck
from stager.helper.firewall.policy import POLICY
from stager.helper.protocol import HelperError
from stager.helper.shapes import fields
from stager.helper.verbs import Feature, Result, Verb
from stager.helper_client import HelperClient
from stager.ports.builder import BuildOrder, Say
from stager.ports.diagnostics import Verdict
from tests.unit.helper.serving import served

NOWHERE = "unix:///nowhere.sock"


def order(tree: Path, *, untrusted: bool = True) -> BuildOrder:
    return BuildOrder("key1", "shop", "0" * 40, tree, Recipe(), 60, untrusted)


class Shared(BuildxBuilder):
    """Builds nothing, and says so."""

    async def build(self, order: BuildOrder, say: Say) -> str:
        return f"shared {order.key}"


class NoBuilder(Feature):
    """A helper that can't build."""

    name = "builder"

    def unavailable(self) -> str:
        return "There are no loop devices here."

    def verbs(self) -> Sequence[Verb]:
        return [Verb("builder-start", fields(), self._start, queue="builder")]

    def _start(self, given: object) -> Result:
        raise HelperError(self.unavailable(), kind="fault", reason="builder-unavailable")


async def build(
    helper: Path, tree: Path, *, unsafe: bool = False, untrusted: bool = True
) -> tuple[str, list[str]]:
    docker, said = connect(NOWHERE), list[str]()
    try:
        shared = Shared(docker, NOWHERE, "test-1")
        isolated = UntrustedBuilder(HelperClient(helper), docker, shared, Lending())
        builder = BuilderByTrust(shared, None if unsafe else isolated)
        return await builder.build(order(tree, untrusted=untrusted), said.append), said
    finally:
        await docker.close()


async def test_our_own_code_takes_no_helper(tmp_path: Path) -> None:
    assert await build(tmp_path / "none.sock", tmp_path, untrusted=False) == ("shared key1", [])


async def test_without_a_helper_a_stranger_s_isn_t_built(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        await build(tmp_path / "none.sock", tmp_path)
    assert refused.value.reason == "untrusted-builder-missing"
    assert "stager-helper" in refused.value.hint
    assert "forks.unsafe_shared_builder" in refused.value.hint
    assert "none.sock" in refused.value.detail


async def test_it_is_when_the_configuration_accepts_that(tmp_path: Path) -> None:
    assert await build(tmp_path / "none.sock", tmp_path, unsafe=True) == ("shared key1", [UNSAFE])


async def test_a_helper_that_can_t_says_why(tmp_path: Path) -> None:
    async with served(tmp_path, NoBuilder()) as socket:
        with pytest.raises(Refused) as refused:
            await build(socket, tmp_path)
    assert "no loop devices" in refused.value.detail


async def test_one_that_is_away_is_retried(tmp_path: Path) -> None:
    """As while it is upgraded: its socket's file is there."""
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), tmp_path / "helper.sock")
    async with server:
        with pytest.raises(Retry) as failed:
            await build(tmp_path / "helper.sock", tmp_path)
    assert failed.value.reason == "helper-away"


async def test_doctor(tmp_path: Path) -> None:
    none = HelperClient(tmp_path / "none.sock")
    [missing] = await UntrustedBuildCheck(none, is_shared=False).run()
    [shared] = await UntrustedBuildCheck(none, is_shared=True).run()
    async with served(tmp_path, NoBuilder()) as socket:
        [unable] = await UntrustedBuildCheck(HelperClient(socket), is_shared=False).run()
    assert [found.verdict for found in (missing, shared, unable)] == [Verdict.WARNING] * 3
    assert "no root helper" in missing.message
    assert "unsafe_shared_builder" in shared.hint
    assert "no loop devices" in unable.message


class Idle(NoBuilder):
    """A helper whose builder can be stopped."""

    def __init__(self) -> None:
        self.stopped = 0

    def verbs(self) -> Sequence[Verb]:
        return [*super().verbs(), Verb("builder-stop", fields(), self._stop, queue="builder")]

    def _stop(self, given: object) -> Result:
        self.stopped += 1
        return {"stopped": True}


@pytest.mark.parametrize(("idle", "stopped"), [(0.0, 1), (600.0, 0)])
async def test_a_builder_that_is_idle_is_stopped_once(tmp_path: Path, idle: float, stopped: int) -> None:
    docker, feature = connect(NOWHERE), Idle()
    async with served(tmp_path, feature) as socket:
        trusted = Shared(docker, NOWHERE, "test-1")
        untrusted = UntrustedBuilder(HelperClient(socket), docker, trusted, Lending(idle=idle))
        await untrusted.stop_if_idle()
        assert feature.stopped == 0, "it was never used"
        with pytest.raises(Refused):
            await untrusted.build(order(tmp_path), lambda _: None)
        await untrusted.stop_if_idle()
        await untrusted.stop_if_idle()
    assert feature.stopped == stopped
    await docker.close()


class Recording(Feature):
    """A helper's firewall that stores its last call."""

    name = "firewall"
    told: Mapping[str, object] = {}

    def verbs(self) -> Sequence[Verb]:
        return [Verb("firewall-apply", POLICY, self._apply, queue="firewall")]

    def _apply(self, given: Mapping[str, object]) -> Result:
        self.told = given
        return {"changed": True}


async def test_registries_are_opened_for_the_builder_alone(tmp_path: Path) -> None:
    feature = Recording()
    async with served(tmp_path, feature) as socket:
        registries = [Destination("10.0.0.5", 5000)]
        helper = HelperClient(socket)
        firewall = HelperFirewall(helper, "test-1", lambda: (), lambda *_: Egress(), builder_allow=registries)
        await firewall.renew([])
    assert feature.told["builder_allow"] == ({"address": "10.0.0.5", "port": 5000},)
    assert feature.told["groups"] == ()


def test_an_isolated_build_gets_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker_s = ("DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_AUTH_CONFIG", "BUILDX_BUILDER", "BUILDKIT_SYNTAX")
    for name in (*docker_s, "http_proxy", "HTTPS_PROXY", "SSL_CERT_FILE", "XDG_CONFIG_HOME", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "ours")
    variables = buildx.isolated_environment(NOWHERE, tmp_path / "buildx")
    assert "ours" not in variables.values()
    assert variables["DOCKER_HOST"] == NOWHERE
    assert list(Path(variables["DOCKER_CONFIG"]).iterdir()) == []
    assert not Path(variables["DOCKER_CONFIG"]).is_relative_to(Path.home())
