"""Stager behind a real HAProxy: with a backend for each preview and with one for all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.behind import answers, ports
from tests.integration.conftest import MakeStager
from tests.integration.haproxy import BINARY, HaproxyUnderTest, running_haproxy
from tests.integration.sleeping import SLEEPERS, check_sleep
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, until
from tests.integration.test_walkthrough import curl
from tests.unit.front.harness import free_port

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="no HAProxy: scripts/test installs one")

Behind = Callable[..., StagerUnderTest]


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[HaproxyUnderTest]:
    with running_haproxy(tmp_path / "haproxy") as haproxy:
        yield haproxy
        assert haproxy.refuses() == "", "whatever happened, HAProxy can be started again"


@pytest.fixture
def behind(haproxy: HaproxyUnderTest, make_stager: MakeStager) -> Behind:
    """Makes a Stager behind HAProxy: with a backend for each preview, or, without `backends`, one for all."""

    def make(*, backends: bool = True, **configuration: Any) -> StagerUnderTest:
        given = {**haproxy.settings, **configuration.pop("haproxy", {})} if backends else {}
        stager = make_stager(
            start=False,
            domain=f"localhost:{haproxy.port}",
            routing_strategy="HaproxyRoutingStrategy",
            haproxy=given,
            ingress_ports=ports(),
            **configuration,
        )
        # The front's, which isn't the one in its URLs.
        stager.port = free_port()
        stager.start()
        if not backends:
            command = [sys.executable, "-m", "stager", "haproxy", "config", "--config", str(stager.config)]
            made = subprocess.run(
                [*command, "--listen", f"127.0.0.1:{haproxy.port}"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            haproxy.target.write_text(made.stdout)
            haproxy.reload()
        until(lambda: answers(f"http://localhost:{haproxy.port}/healthz") == "200", "HAProxy leads to Stager")
        return stager

    return make


def problem(stager: StagerUnderTest) -> str:
    """What /readyz says of HAProxy; empty when nothing."""
    problems: dict[str, str] = stager._client.get(f"{stager.url}/readyz").json()["problems"]
    return problems.get("HAProxy", "")


@pytest.mark.parametrize("backends", [True, False])
def test_launch_refresh_and_kill(haproxy: HaproxyUnderTest, behind: Behind, backends: bool) -> None:
    admin = {
        "image": "stager-test/app:1",
        "command": ["python3", "/server.py"],
        "routed": 3000,
        "env": {"VERSION": "of the service"},
    }
    stager = behind(backends=backends, images={"shop": {"services": {"admin": admin}}})
    base = f"http://localhost:{haproxy.port}"
    credentials = ("--user", f"{USER}:{PASSWORD}", "-d", "image_name=shop&container_name=test")
    url = curl(*credentials, f"{base}/launch")
    assert url == f"http://test.localhost:{haproxy.port}"
    service = f"http://admin--test.localhost:{haproxy.port}"
    text = haproxy.target.read_text()
    if backends:
        assert haproxy.backends() == ["admin--test.localhost", "test.localhost"]
    assert curl(url).startswith("test")
    assert curl(service).endswith("of the service")

    assert stager.launched("test", VERSION="2") == url
    assert curl(url) == "test 2"
    assert haproxy.target.read_text() == text, "a refresh is none of HAProxy's business"

    assert curl(*credentials, f"{base}/kill") == "ok"
    until(lambda: haproxy.backends() == [], "both backends are removed")
    assert (answers(url), answers(service)) == ("410", "410")
    assert "was removed" in curl(url)
    assert answers(f"http://never-heard-of.localhost:{haproxy.port}") == "404"


def test_a_reload_that_fails_has_no_effect_on_others(
    haproxy: HaproxyUnderTest, behind: Behind, tmp_path: Path
) -> None:
    sulk = tmp_path / "sulk"
    reload = haproxy.commands["reload_command"][2]
    script = f"test ! -e {sulk} || {{ echo 'not today' >&2; exit 1; }}; {reload}"
    stager = behind(haproxy={"reload_command": ["sh", "-c", script]})
    good = stager.launched("good")
    sulk.touch()
    url = stager.launched("late")
    assert curl(url).startswith("late"), "the default backend leads there all the same"
    assert curl(good).startswith("good")
    said = until(lambda: problem(stager), "it is told")
    assert "not today" in said
    assert "haproxy.reload_command" in said
    assert haproxy.backends() == ["good.localhost"]
    sulk.unlink()
    until(lambda: not problem(stager), "it is over")
    assert haproxy.backends() == ["good.localhost", "late.localhost"]
    assert curl(url).startswith("late")


def test_haproxy_and_stager_may_be_killed(haproxy: HaproxyUnderTest, behind: Behind) -> None:
    stager = behind()
    first = stager.launched("first")
    haproxy.kill9()
    second = stager.launched("second")
    until(lambda: "isn't running" in problem(stager), "it is told")
    haproxy.start()
    until(lambda: answers(first) == "200" and answers(second) == "200", "HAProxy has them")
    until(lambda: not problem(stager), "it is over")
    stager.restart()
    assert curl(first).startswith("first")
    before = stager.front_pid
    stager.kill_front()
    until(lambda: stager.front_pid not in {0, before}, "there is a front again")
    until(lambda: answers(second) == "200", "its ingress ports are open again")
    assert haproxy.backends() == ["first.localhost", "second.localhost"]


def test_a_template_that_is_no_good_is_reported_at_the_start(
    haproxy: HaproxyUnderTest, make_stager: MakeStager
) -> None:
    stager = make_stager(
        start=False,
        routing_strategy="haproxy",
        haproxy={**haproxy.settings, "template_path": "mine.cfg"},
    )
    stager.port = free_port()
    stager.configure()
    for text, words in (
        ("frontend x\n    bind {{ blind }}\n", "mine.cfg, line 2"),
        ("frontend x\n    lisen 80\n", "unknown keyword 'lisen'"),
    ):
        (stager.folder / "mine.cfg").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "stager", "serve", "--config", str(stager.config)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert words in done.stderr
        assert "haproxy.template_path" in done.stderr
        assert "Traceback" not in done.stderr
    assert stager.front_pid == 0
    assert not haproxy.target.exists()


@pytest.mark.parametrize("backends", [True, False])
async def test_a_preview_sleeps_and_wakes(behind: Behind, backends: bool) -> None:
    stager = await asyncio.to_thread(lambda: behind(backends=backends, images=SLEEPERS))
    await check_sleep(stager, await asyncio.to_thread(lambda: stager.launched("test", VERSION="1")))
