"""What goes on inside instances: logs as they come, and shells."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from stager.testing import Program
from stager.testing.fakes.program import Inner
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import Served
from tests.unit.control.harness import IMAGE
from tests.unit.web.harness import basic

INNER = {"listens": Inner(listens=True), "speaks": Inner(3, "first\nlast")}


@pytest.fixture(name="shop")
def launched(signed_in: Served, run: Run) -> Served:
    """The server, with a preview that runs."""
    signed_in.harness.engine.add_image(IMAGE, Program(output="ready", inner=INNER))
    assert run("launch", "shop", "x").exit_code == 0
    return signed_in


def instance(server: Served) -> str:
    """The id of what runs."""
    [only] = server.harness.engine.there()
    return only.id


def id_of(run: Run) -> str:
    return str(json.loads(run("show", "x", "--json").stdout)["id"])


def socket(server: Served, id_: str, query: str = "", **headers: str) -> ClientConnection:
    url = f"ws://127.0.0.1:{server.port}/api/v1/environments/{id_}/exec?{query}"
    return connect(url, additional_headers=basic("ann", "pa:ss") | headers, proxy=None)


def test_logs(shop: Served, run: Run) -> None:
    assert run("logs", "shop", "x").stdout == "ready\n"
    assert json.loads(run("logs", "x", "--json").stdout) == ["ready"]
    assert run("logs", "x", "--build").stderr == "The log is empty.\n"


def test_logs_are_followed_from_instance_to_instance(shop: Served, run: Run) -> None:
    command = [sys.executable, "-m", "stager", "logs", "x", "-f"]
    following = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    until_followed(shop)
    shop.do(lambda: shop.harness.engine.print(instance(shop), "one\x1b]0;title\x07 line"))
    assert run("redeploy", "x").exit_code == 0
    until_alone(shop)
    shop.do(lambda: shop.harness.engine.print(instance(shop), "another"))
    assert run("kill", "x").exit_code == 0
    printed, _ = following.communicate(timeout=30)
    assert following.returncode == 0
    lines = printed.splitlines()
    assert lines[:2] == ["ready", "one line"]
    assert lines[-1] == "another"


def until_alone(server: Served) -> None:
    """The old instance goes after the new one is live."""
    deadline = time.monotonic() + 60
    while len(server.harness.engine.there()) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)


def until_followed(server: Served) -> None:
    deadline = time.monotonic() + 60
    while not server.harness.engine.is_followed and time.monotonic() < deadline:
        time.sleep(0.01)


def test_exec_hands_the_exit_code_through(shop: Served, run: Run) -> None:
    done = run("exec", "shop", "x", "--", "speaks", "--loudly")
    assert (done.exit_code, done.stdout) == (3, "first\nlast\n")
    assert shop.harness.engine.ran[-1] == (instance(shop), ("speaks", "--loudly"))


def test_exec_without_a_command_is_a_shell(shop: Served, run: Run) -> None:
    assert run("exec", "x").exit_code == 0
    assert shop.harness.engine.ran[-1][1][0] == "sh"


def test_input_and_size_are_sent(shop: Served, run: Run) -> None:
    with socket(shop, id_of(run), "command=listens&rows=30&columns=99&kind=vt100") as terminal:
        for typed, answer in ((b"size\n", b"30 99\r\n"), (b"kind\n", b"vt100\r\n")):
            terminal.send(typed)
            assert terminal.recv(10) == answer
        terminal.send("not JSON")
        terminal.send('{"rows": 5, "columns": 6}')
        terminal.send(b"size\n")
        assert terminal.recv(10) == b"5 6\r\n"
        terminal.send(b"exit 9\n")
        assert json.loads(terminal.recv(10)) == {"exit_code": 9}


def test_a_terminal_is_closed_when_its_user_is_gone(shop: Served, run: Run) -> None:
    power, id_ = shop.harness.running.control_plane.environments.power, id_of(run)
    with socket(shop, id_, "command=listens") as terminal:
        terminal.send(b"hello\n")
        assert terminal.recv(10) == b"you said hello\r\n"
        assert power.is_in_use(id_)
    deadline = time.monotonic() + 10
    while not shop.harness.engine.terminals[-1].closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert shop.harness.engine.terminals[-1].closed
    assert not power.is_in_use(id_)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Basic bm9ib2R5OnNvcnJ5"}, 401),
        (basic("bob", "secret"), 403),
        ({"origin": "https://elsewhere.test"}, 403),
    ],
)
def test_who_may_not(shop: Served, run: Run, headers: dict[str, str], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        socket(shop, id_of(run), **headers)
    assert refused.value.response.status_code == status
    assert shop.harness.engine.ran == []


def test_exec_ends_by_the_documented_codes(shop: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGER_USERNAME", "bob")
    monkeypatch.setenv("STAGER_PASSWORD", "secret")
    refused = run("exec", "x", "--", "speaks")
    assert refused.exit_code == 4
    assert 'bob lacks the permission "exec" for shop.' in refused.stderr
    monkeypatch.setenv("STAGER_USERNAME", "ann")
    monkeypatch.setenv("STAGER_PASSWORD", "pa:ss")
    shop.do(lambda: shop.harness.engine.end(instance(shop)))
    assert run("exec", "nothing").exit_code == 5
    assert run("exec", "x", "too", "many").exit_code == 2


def test_the_doctor_is_for_administrators(
    signed_in: Served, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = "/api/v1/doctor"
    answer = httpx.get(f"{signed_in.url}{endpoint}", auth=("ann", "pa:ss"), trust_env=False)
    assert (answer.status_code, answer.json()) == (200, [])
    assert httpx.get(f"{signed_in.url}{endpoint}", auth=("bob", "secret"), trust_env=False).status_code == 403
