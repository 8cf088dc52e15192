"""Whether the root helper is used: by the settings, by what is there, and by whether it was used before."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import structlog

from stager.assembly import helper as module
from stager.assembly.helper import firewall_of, helper_of, public_ports
from stager.control.routing.urls import Urls
from stager.domain.errors import Fault
from stager.helper.verbs import Feature
from stager.settings.loading.loader import load
from stager.settings.model import Settings
from stager.state import StateDirectory
from stager.testing import MemoryStore
from tests.unit.helper.serving import served


class Guarding(Feature):
    name = "firewall"

    def __init__(self, lack: str = "") -> None:
        self.lack = lack

    def unavailable(self) -> str:
        return self.lack


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    monkeypatch.setattr(module, "START_TIMEOUT", 0.05)
    monkeypatch.setattr(module, "PAUSE", 0.01)
    (tmp_path / "state").mkdir()
    return StateDirectory(tmp_path / "state")


def settings(where: Path, text: str = "") -> Settings:
    path = where.parent / "config.yml"
    path.write_text(f"helper_socket: {where}\nengine: {{socket: 'unix:///var/run/docker.sock'}}\n{text}")
    return load(path, environ={}).settings


async def test_by_default_it_is_used_where_it_is(tmp_path: Path, state: StateDirectory) -> None:
    absent = await helper_of(settings(tmp_path / "helper.sock"), state)
    assert "There is no root helper" in absent.lacks("firewall")
    assert firewall_of(absent, settings(tmp_path / "helper.sock"), state, tuple) is None
    assert not state.guarded.exists()
    async with served(tmp_path, Guarding()) as path:
        given = settings(path)
        there = await helper_of(given, state)
        assert there.lacks("firewall") == ""
        assert there.lacks("builder") == "This helper has no builder."
        assert firewall_of(there, given, state, tuple) is not None
    assert state.guarded.exists()


async def test_once_used_nothing_starts_without_it_until_it_is_off(
    tmp_path: Path, state: StateDirectory
) -> None:
    async with served(tmp_path, Guarding()) as path:
        await helper_of(settings(path), state)
    with pytest.raises(Fault, match="There is no root helper") as missing:
        await helper_of(settings(path), state)
    assert missing.value.reason == "helper-missing"
    off = await helper_of(settings(path, "helper: off"), state)
    assert off.lacks("firewall") == "`helper: off` in the configuration."
    assert (await helper_of(settings(path), state)).client is None, "as at first"


async def test_one_that_is_there_and_doesnt_answer_is_no_reason_to_do_without(
    tmp_path: Path, state: StateDirectory
) -> None:
    path = tmp_path / "helper.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(Fault, match="doesn't answer") as missing:
        await helper_of(settings(path), state)
    assert missing.value.reason == "helper-missing"
    assert (await helper_of(settings(path, "helper: off"), state)).client is None


async def test_required_it_must_be_there_and_able(tmp_path: Path, state: StateDirectory) -> None:
    required = settings(tmp_path / "helper.sock", "helper: required")
    with pytest.raises(Fault, match="There is no root helper"):
        await helper_of(required, state)
    async with served(tmp_path, Guarding("No iptables.")) as path:
        with pytest.raises(Fault, match="can't apply firewall rules: No iptables"):
            await helper_of(required, state)
        lenient = await helper_of(settings(path), state)
        assert lenient.lacks("firewall") == "No iptables."
        assert firewall_of(lenient, settings(path), state, tuple) is None
        assert not state.guarded.exists()
    async with served(tmp_path) as path:
        with pytest.raises(Fault, match="its version is too old"):
            await helper_of(settings(path, "helper: required"), state)


async def test_one_that_comes_late_is_waited_for(
    tmp_path: Path, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_TIMEOUT", 10.0)
    waiting = asyncio.create_task(helper_of(settings(tmp_path / "helper.sock", "helper: required"), state))
    await asyncio.sleep(0.05)
    async with served(tmp_path, Guarding()):
        assert (await waiting).client is not None


async def test_another_machines_docker_isnt_guarded_from_here(tmp_path: Path, state: StateDirectory) -> None:
    remote = "engine: {socket: 'tcp://192.0.2.1:2375'}\n"
    async with served(tmp_path, Guarding()) as path:
        given = settings(path).model_copy(update={"engine": load_engine(path, remote)})
        assert "another machine" in (await helper_of(given, state)).lacks("firewall")
        with pytest.raises(Fault, match="another machine"):
            await helper_of(given.model_copy(update={"helper": "required"}), state)


def load_engine(path: Path, text: str) -> object:
    file = path.parent / "engine.yml"
    file.write_text(text)
    return load(file, environ={}).settings.engine


@pytest.mark.parametrize(
    ("text", "listen", "ports"),
    [
        ("", "127.0.0.1:8000", [8000]),
        ("domain: demo.example.org", "127.0.0.1:8000", [80]),
        ("domain: demo.example.org\nscheme: https", "0.0.0.0:8000", [443, 8000]),
        (
            "domain: demo.example.org:8443\npreview_domain: p.example.org\nscheme: https",
            "[::1]:80",
            [443, 8443],
        ),
        ("domain: localhost:9000", "[::]:9000", [9000]),
    ],
)
def test_the_ports_at_which_visitors_come_in(
    tmp_path: Path, text: str, listen: str, ports: list[int]
) -> None:
    given = settings(tmp_path / "x", text)
    fallback = f"localhost:{listen.rpartition(':')[2]}"
    addresses = Urls(
        MemoryStore(), domain=given.domain, preview_domain=given.preview_domain, scheme=given.scheme,
        fallback=fallback,
    )  # fmt: skip
    assert public_ports(given, listen, addresses) == ports


BUILT = "images: {shop: {build: '.', repo_owner: acme, forks: approve}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BUILT, "Code from forks isn't built."),
        (f"{BUILT}forks: {{unsafe_shared_builder: true}}", "shares a builder with trusted code"),
        (BUILT.replace("approve", "'off'"), ""),
        ("images: {shop: {port: 80}}", ""),
    ],
)
async def test_the_log_says_how_code_from_forks_is_built(
    tmp_path: Path, state: StateDirectory, text: str, said: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        await helper_of(settings(tmp_path / "helper.sock", text), state)
    entries = [str(entry["builds"]) for entry in logs if entry["event"] == "untrusted_builder_off"]
    assert (said in entries[0] and len(entries) == 1) if said else not entries
