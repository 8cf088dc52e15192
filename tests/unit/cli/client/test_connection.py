"""What may answer in place of a server, and that each ending has its documented exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from stager.cli.client.api.connection import connection_target
from stager.cli.client.api.errors import Code
from stager.cli.client.settings import Endpoint
from stager.version import __version__
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import Served
from tests.unit.cli.client.stranger import Answer, Stranger, stranger

PROBLEM = "application/problem+json"


@pytest.fixture(name="other")
def somebody(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    """A server that isn't Stager, at the configured address."""
    monkeypatch.setenv("STAGER_TOKEN", "stager_secret")
    with stranger() as one:
        monkeypatch.setenv("STAGER_ENDPOINT", one.url)
        yield one


def says(status: int, **problem: object) -> Answer:
    return Answer(status, json.dumps({"status": status, **problem}), PROBLEM)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Answer(200, "<h1>Welcome</h1>"), 7, "isn't from Stager: text/html"),
        (Answer(200, "{", "application/json"), 7, "isn't from Stager: invalid JSON"),
        (Answer(200, '[{"id": 1}]', "application/json"), 7, "Install the same version on the client"),
        (Answer(200, '{"no": "list"}', "application/json"), 7, "that this client"),
        (Answer(502, "<h1>Bad gateway</h1>"), 7, "isn't from Stager: status 502"),
        (Answer(401, "<h1>Company proxy</h1>"), 7, "isn't from Stager: status 401"),
        (says(401, title="Unauthorized"), 3, "Run `stager login`, or set STAGER_TOKEN."),
        (says(403, title="ann may not.", detail="Ask."), 4, "ann may not. Ask."),
        (says(404, title="There is none.", reason="unknown"), 5, "There is none."),
        (says(409, title="It can't be.", lines=["one\x1b[2Jtwo"]), 1, "  onetwo"),
        (says(503, title="Docker doesn't answer."), 1, "Docker doesn't answer."),
        (Answer(301, headers={"Location": "https://elsewhere.test/x"}), 7, "stager configure endpoint=https://elsewhere.test"),
        (Answer(307, headers={"Location": "/login"}), 7, "redirects aren't followed"),
    ],
)  # fmt: skip
def test_every_answer_has_its_ending(
    other: Stranger, run: Run, answer: Answer, code: int, words: str
) -> None:
    other.answers[""] = answer
    done = run("list")
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr
    assert "\x1b" not in done.stderr
    assert [path.partition("?")[0] for _, path, _, _ in other.asked] == ["/api/v1/environments"]


def test_a_redirection_isnt_followed(other: Stranger, run: Run) -> None:
    with stranger() as elsewhere:
        other.answers[""] = Answer(302, headers={"Location": f"{elsewhere.url}/api/v1/environments"})
        assert run("list").exit_code == 7
        assert elsewhere.asked == []


def test_nor_is_one_of_a_websocket(other: Stranger, run: Run) -> None:
    preview = {
        "id": "abcdefgh", "app": "shop", "name": "x", "url": "http://x", "state": "live", "message": "",
        "hint": "", "reason": "", "sha": "", "generation": 1, "serving": 1,
    }  # fmt: skip
    other.answers["GET /api/v1/environments"] = Answer(200, json.dumps([preview]), "application/json")
    with stranger() as elsewhere:
        other.answers[""] = Answer(302, headers={"Location": elsewhere.url.replace("http", "ws")})
        assert run("exec", "x").exit_code == 7
        assert elsewhere.asked == []


def test_a_server_of_another_version_is_reported(other: Stranger, run: Run) -> None:
    other.answers = {
        "": says(404, title="Not Found", reason="http"),
        "GET /openapi.json": Answer(200, '{"info": {"version": "0.0.1"}}', "application/json"),
    }
    done = run("list")
    assert done.exit_code == 1
    assert f"The server's version is 0.0.1, the client's is {__version__}." in done.stderr


def test_no_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGER_TOKEN", "x")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("STAGER_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        done = run("list", "--json")
    error = json.loads(done.stderr)["error"]
    assert (done.exit_code, error["code"], done.stdout) == (7, 7, "")
    assert "doesn't answer" in error["message"]


def test_names_below_localhost_are_this_machine() -> None:
    url, headers = connection_target(Endpoint("", "http://demo.localhost:8000"))
    assert (url, headers) == ("http://127.0.0.1:8000/", {"Host": "demo.localhost:8000"})
    assert connection_target(Endpoint("", "https://demo.example.org/stager")) == (
        "https://demo.example.org/stager/",
        {},
    )


def test_the_codes_of_a_real_server(signed_in: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("list").exit_code == Code.OK
    assert run("launch", "nothing", "x").exit_code == Code.FAILED
    assert run("launch", "shop").exit_code == Code.USAGE
    assert run("show", "nothing").exit_code == Code.NOT_FOUND
    assert run("wait", "nothing", "--timeout", "0").exit_code == Code.TIMEOUT
    monkeypatch.setenv("STAGER_USERNAME", "bob")
    monkeypatch.setenv("STAGER_PASSWORD", "secret")
    assert run("launch", "shop", "x").exit_code == Code.NOT_PERMITTED
    monkeypatch.setenv("STAGER_PASSWORD", "wrong")
    assert run("list").exit_code == Code.NOT_SIGNED_IN


def test_the_client_alone_needs_nothing_of_the_server() -> None:
    """As after `pip install stager`, without any of `[server]`."""
    servers = ["aiodocker", "aiohttp", "fastapi", "jinja2", "sqlalchemy", "structlog", "uvicorn", "yaml"]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({servers}))\n"
        "from stager.cli.main import main\n"
        "sys.argv = ['stager', *sys.argv[1:]]\n"
        "main()\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True
    )
    assert "launch" in told.stdout
    refused = subprocess.run(
        [sys.executable, "-c", script, "serve"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "pip install 'stager[server]'" in refused.stderr
