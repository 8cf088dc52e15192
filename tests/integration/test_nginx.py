"""Stager behind a real nginx: the walkthrough's way, in both modes, and when something is the matter."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.integration.behind import Behind, answers, behind, nginx, ports
from tests.integration.conftest import MakeStager
from tests.integration.nginx import BINARY, NginxUnderTest
from tests.integration.sleeping import SLEEPERS, check_sleep
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, until
from tests.integration.test_walkthrough import curl
from tests.unit.front.harness import free_port, read_response, request

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="no nginx: scripts/test installs one")

__all__ = ["behind", "nginx"]


def problem(stager: StagerUnderTest) -> str:
    """What /readyz says of nginx; empty when nothing."""
    problems: dict[str, str] = stager._client.get(f"{stager.url}/readyz").json()["problems"]
    return problems.get("nginx", "")


@pytest.mark.requirement("R24", "R44", "R45", "R46", "R57", "R60")
@pytest.mark.parametrize("form", ["list", "map"])
def test_the_walkthrough_s_launch_as_written(nginx: NginxUnderTest, behind: Behind, form: str) -> None:
    behind(form=form)
    base = f"http://localhost:{nginx.port}"
    credentials = ("--user", f"{USER}:{PASSWORD}", "-d", "image_name=shop&container_name=test")
    url = curl(*credentials, f"{base}/launch")
    assert url == f"http://test.localhost:{nginx.port}"
    assert nginx.files() == ["default", "test"]
    assert curl(url).startswith("test")
    assert curl(*credentials, f"{base}/kill") == "ok"
    assert nginx.files() == ["default"]
    assert answers(url) == "410"
    assert "was removed" in curl(url)


@pytest.mark.parametrize("vhosts", [True, False])
def test_a_routed_service_is_reached_at_its_own_host(
    nginx: NginxUnderTest, behind: Behind, vhosts: bool
) -> None:
    admin = {
        "image": "stager-test/app:1",
        "command": ["python3", "/server.py"],
        "routed": 3000,
        "env": {"VERSION": "of the service"},
    }
    stager = behind(vhosts=vhosts, images={"shop": {"services": {"admin": admin}}})
    stager.launched("test")
    main, service = (f"http://{host}.localhost:{nginx.port}" for host in ("test", "admin--test"))
    assert nginx.files() == (["admin--test", "default", "test"] if vhosts else ["default"])
    assert curl(main).startswith("test")
    assert curl(service).endswith("of the service")

    stager.kill("test")
    until(lambda: nginx.files() == ["default"], "both files are removed")
    assert (answers(main), answers(service)) == ("410", "410")


@pytest.mark.requirement("R3", "R92")
@pytest.mark.parametrize("vhosts", [True, False])
def test_unknown_subdomains_get_our_page(nginx: NginxUnderTest, behind: Behind, vhosts: bool) -> None:
    stager = behind(vhosts=vhosts)
    # Its name comes before all others, so nginx would take it for the default one.
    stager.launched("aaa")
    stager.launched("test")
    stager.kill("test")
    for name, status in (("test", "410"), ("never-heard-of", "404")):
        url = f"http://{name}.localhost:{nginx.port}"
        assert answers(url) == status
        assert answers(f"{url}/launch", "-d", "image_name=shop&container_name=x",
                       "--user", f"{USER}:{PASSWORD}") == status  # fmt: skip
        assert "aaa" not in curl(url)
    assert len(stager.containers()) == 1


def test_no_preview_answers_for_another(nginx: NginxUnderTest, behind: Behind) -> None:
    # Without the one for all: names that nginx doesn't know go to the preview whose file it read first.
    stager = behind(base=False)
    names = ("aaa", "bbb", "ccc")
    hosts = [f"{name}.localhost:{nginx.port}" for name in (*names, "never-heard-of")]
    stager.launched("bbb")
    until(lambda: answers(f"http://{hosts[1]}") == "200", "nginx listens")
    seen: Counter[str] = Counter()
    for name in ("aaa", "ccc", "aaa", "bbb", "aaa", "bbb"):
        answer = stager.kill(name) if name in nginx.files() else stager.launch(name)
        assert answer.status_code == 200, answer.text
        seen += asyncio.run(asked_at_once(nginx.port, hosts, 210))
    print(dict(seen))
    assert seen.total() >= 10_000
    assert seen["wrong"] == 0
    assert seen["right"] >= 3_000


async def asked_at_once(port: int, hosts: list[str], each: int) -> Counter[str]:
    """Whose answers these hosts get, one after the other, on eight connections with so many requests each."""
    seen: Counter[str] = Counter()
    turns = itertools.cycle(hosts)

    async def ask(share: int) -> None:
        while share > 0:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # a reload closes idle ones
                for _ in range(share):
                    host = next(turns)
                    writer.write(request(host=host))
                    answer = await asyncio.wait_for(read_response(reader), 20)
                    share -= 1
                    mine = answer.body.decode().split()[0] == host.partition(".")[0]
                    seen["right" if mine else "wrong" if answer.status == 200 else str(answer.status)] += 1
            writer.close()

    await asyncio.gather(*(ask(each) for _ in range(8)))
    return seen


def test_one_server_for_all_is_never_touched(nginx: NginxUnderTest, behind: Behind) -> None:
    stager = behind(vhosts=False)
    before = (nginx.sites / "default").stat()
    url = stager.launched("test")
    assert curl(url).startswith("test")
    assert curl(f"http://localhost:{nginx.port}").count("Stager is running")
    seen = stager._client.get(f"{nginx.url}/env", headers={"Host": f"test.localhost:{nginx.port}"})
    assert seen.json()["container_name"] == "test"
    assert nginx.files() == ["default"]
    assert (nginx.sites / "default").stat() == before


HOSTILE = ("../../../etc/passwd", "$(reboot)", "a;}server{", "Ümläut / ✨", "-t", ".hidden", "x" * 200)


@pytest.mark.requirement("R92")
@pytest.mark.parametrize("vhosts", [True, False])
def test_hostile_names(nginx: NginxUnderTest, behind: Behind, vhosts: bool) -> None:
    stager = behind(vhosts=vhosts)
    for name in HOSTILE:
        assert stager.launch(name, wait="0").status_code == 202
    for name in HOSTILE:
        url = str(stager.wait_for(name, "live")["url"])
        assert url.endswith(f".localhost:{nginx.port}")
        assert curl(url).startswith(name)
    assert stager.launch("default").status_code == 400
    names = nginx.files()
    assert len(names) == (8 if vhosts else 1)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)
    assert not list(nginx.folder.glob("passwd"))


def test_a_template_that_is_no_good_is_reported_at_the_start(
    nginx: NginxUnderTest, make_stager: MakeStager
) -> None:
    stager = make_stager(
        start=False,
        routing_strategy="nginx",
        nginx={**nginx.settings, "target_dir": str(nginx.sites), "template_path": "mine.erb"},
    )
    stager.port = free_port()
    stager.configure()
    for text, words in (
        ("server {\n<%= name %>\n}\n", "mine.erb, line 2"),
        ("server {\n  lisen 80;\n}\n", 'unknown directive "lisen", in line 2'),
    ):
        (stager.folder / "mine.erb").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "stager", "serve", "--config", str(stager.config)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert words in done.stderr
        assert "nginx.template_path" in done.stderr
        assert "Traceback" not in done.stderr
    assert stager.front_pid == 0
    assert nginx.files() == []


def test_a_reload_that_fails_has_no_effect_on_others(
    nginx: NginxUnderTest, behind: Behind, tmp_path: Path
) -> None:
    sulk = tmp_path / "sulk"
    reload: Any = nginx.settings["reload_command"]
    script = f"test ! -e {sulk} || {{ echo 'not today' >&2; exit 1; }}; exec {' '.join(reload)}"
    stager = behind(nginx={"reload_command": ["sh", "-c", script]})
    good = stager.launched("good")
    sulk.touch()
    url = stager.launched("late")
    assert curl(url).startswith("late"), "the one for all leads there all the same"
    assert curl(good).startswith("good")
    said = until(lambda: problem(stager), "it is told")
    assert "not today" in said
    assert "nginx.reload_command" in said
    assert "not today" in stager._client.get(stager.url, headers={"Accept": "text/html"}).text
    assert nginx.files() == ["default", "good"]
    sulk.unlink()
    until(lambda: not problem(stager), "it is over")
    assert nginx.files() == ["default", "good", "late"]
    assert curl(url).startswith("late")


@pytest.mark.parametrize("vhosts", [True, False])
def test_nginx_may_be_killed_and_restarted(nginx: NginxUnderTest, behind: Behind, vhosts: bool) -> None:
    stager = behind(vhosts=vhosts)
    first = stager.launched("first")
    nginx.kill9()
    second = stager.launched("second")
    assert stager.get("second").text.startswith("second"), "the front leads there all the same"
    if vhosts:
        until(lambda: "isn't running" in problem(stager), "it is told")
    nginx.start()
    until(lambda: answers(first) == "200" and answers(second) == "200", "nginx has them")
    until(lambda: not problem(stager), "it is over")
    assert nginx.files() == ["default", *(["first", "second"] if vhosts else [])]


def test_stager_killed_between_rename_and_reload(
    nginx: NginxUnderTest, behind: Behind, tmp_path: Path
) -> None:
    hang, hangs = tmp_path / "hang", tmp_path / "hangs"
    reload: Any = nginx.settings["reload_command"]
    script = f"if [ -e {hang} ]; then echo $$ > {hangs}; exec sleep 60; fi; exec {' '.join(reload)}"
    # Without the one for all: a name whose file nginx hasn't read leads to the first.
    stager = behind(nginx={"reload_command": ["sh", "-c", script]}, base=False)
    stager.launched("first")
    hang.touch()
    launching = threading.Thread(target=lambda: _launch_in_vain(stager, "second"))
    launching.start()
    until(lambda: hangs.exists() and hangs.read_text().strip(), "the reload hangs")
    assert "second" in nginx.files()
    stager.kill9()
    launching.join()
    subprocess.run(["kill", hangs.read_text().strip()], check=True)
    hang.unlink()
    stager.start()
    url = f"http://second.localhost:{nginx.port}"
    until(lambda: curl(url).startswith("second"), "nginx has read it")
    until(lambda: nginx.files() == ["first", "second"], "nothing is left over")


def _launch_in_vain(stager: StagerUnderTest, name: str) -> None:
    try:
        stager.launch(name)
    except Exception as error:
        print(f"as it should: {error}")


def test_stager_and_its_front_may_be_restarted(nginx: NginxUnderTest, behind: Behind) -> None:
    stager = behind()
    url = stager.launched("test")
    text = (nginx.sites / "test").read_text()
    stager.restart()
    assert curl(url).startswith("test")
    before = stager.front_pid
    stager.kill_front()
    until(lambda: stager.front_pid not in {0, before}, "there is a front again")
    until(lambda: answers(url) == "200", "its ingress ports are open again")
    assert (nginx.sites / "test").read_text() == text
    stager.launched("test", VERSION="2")
    assert curl(url) == "test 2"
    assert (nginx.sites / "test").read_text() == text, "a refresh is none of nginx's business"


def test_a_port_that_a_stranger_has(nginx: NginxUnderTest, behind: Behind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        stager = behind(reconcile_interval="1h")
        stager.kill9()
        stager.configure(ingress_ports=f"{taken}-{taken}")
        stager.start()
        url = stager.launched("test")
        assert curl(url).startswith("test"), "the one for all leads there"
        said = until(lambda: problem(stager), "it is told")
        assert f"another program uses port {taken}" in said
        assert nginx.files() == ["default"]
    stager.restart()
    until(lambda: nginx.files() == ["default", "test"], "it has its ingress port")
    until(lambda: not problem(stager), "it is over")
    assert curl(url).startswith("test")


def test_min_port_and_max_port(
    nginx: NginxUnderTest, behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = ports().split("-")
    monkeypatch.setenv("MIN_PORT", first)
    monkeypatch.setenv("MAX_PORT", last)
    stager = behind()
    stager.launched("test")
    assert f"127.0.0.1:{first};" in (nginx.sites / "test").read_text()


def test_a_burst_is_gathered(nginx: NginxUnderTest, behind: Behind) -> None:
    stager = behind(images={"shop": {}})
    threads = [threading.Thread(target=stager.launched, args=(f"branch-{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = (nginx.folder / "error.log").read_text()
    assert nginx.files() == [*(f"branch-{n}" for n in range(6)), "default"]
    assert log.count("signal process started") < 6
    for n in range(6):
        assert curl(f"http://branch-{n}.localhost:{nginx.port}").startswith(f"branch-{n}")


@pytest.mark.parametrize("vhosts", [True, False])
async def test_a_preview_sleeps_and_wakes(behind: Behind, vhosts: bool) -> None:
    stager = await asyncio.to_thread(lambda: behind(vhosts=vhosts, images=SLEEPERS))
    await check_sleep(stager, await asyncio.to_thread(lambda: stager.launched("test", VERSION="1")))
