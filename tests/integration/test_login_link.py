"""The administrator's one-time sign-in link of a real Stager: from the machine's terminal to the browser."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.conftest import MakeStager
from tests.integration.stager import PATIENCE, StagerUnderTest
from tests.integration.test_figures import REQUESTS, asked

PATH = "/control/login-link"
LINK = re.compile(r"^(http://\S+)(/login/link\?secret=([\w-]{43}))$", re.MULTILINE)
WITHOUT_SIGN_IN: dict[str, Any] = {"authentication_strategy": [], "users": []}


def command(stager: StagerUnderTest) -> subprocess.CompletedProcess[str]:
    """`stager login-link`."""
    words = [sys.executable, "-m", "stager", "login-link", "--config", str(stager.config)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)


@contextlib.contextmanager
def signed_in(stager: StagerUnderTest, output: str) -> Iterator[httpx.Client]:
    """A browser that has followed the link in this output."""
    found = LINK.search(output)
    assert found is not None, output
    host = f"localhost:{stager.port}"
    with httpx.Client(base_url=stager.url, headers={"Host": host}, trust_env=False) as browser:
        assert found[3] in browser.get(found[2]).text
        form = {"secret": found[3]}
        answer = browser.post("/login/link", data=form, headers={"Origin": f"http://{host}"})
        assert (answer.status_code, answer.headers.get("location")) == (303, "/"), answer.text
        yield browser


def test_signs_in_an_administrator(make_stager: MakeStager) -> None:
    stager = make_stager(**WITHOUT_SIGN_IN)
    done = command(stager)
    assert done.returncode == 0, done.stderr
    with signed_in(stager, done.stdout) as browser:
        assert browser.get("/api/v1/whoami").json()["role"] == "administrator"
    secret = done.stdout.strip().partition("secret=")[2].encode()
    files = [path for path in stager.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if secret in path.read_bytes()]


def test_the_command_says_what_to_do_while_no_server_runs(make_stager: MakeStager) -> None:
    stager = make_stager()
    stager.terminate()
    away = command(stager)
    assert away.returncode == 1
    assert "Start it: `stager serve`." in away.stderr


@pytest.mark.attack(
    "Creating an administrator's sign-in link through the front, with forged or removed forwarding headers",
    profile="visitor",
    result="404 or another error, and no link",
)
def test_the_front_doesnt_create_one(make_stager: MakeStager) -> None:
    stager = make_stager(trusted_proxies=["127.0.0.0/8"], **WITHOUT_SIGN_IN)
    for method in ("GET", "POST"):
        for name, text in REQUESTS.items():
            said = asked(stager, text.replace("GET ", f"{method} ").replace("/metrics", PATH))
            assert "secret" not in said, (name, said)
            assert " 20" not in said[:12], (name, said)


def test_serve_prints_the_first_one(make_stager: MakeStager) -> None:
    stager = make_stager(**WITHOUT_SIGN_IN)
    stager.terminate()
    words = [sys.executable, "-m", "stager", "serve", "--config", str(stager.config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=stager.folder) as serving:
        assert serving.stdout is not None
        lines: list[str] = []
        try:
            for line in serving.stdout:
                lines.append(line)
                if LINK.search(line):
                    break
            with signed_in(stager, "".join(lines)):
                pass
        finally:
            serving.terminate()
    assert "No way to sign in is configured yet." in "".join(lines)
    assert "secret=" not in stager.log.read_text()
