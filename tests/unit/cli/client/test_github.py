"""Signing in with GitHub, as a person does it: in a browser, or with a code. The server is a stranger that
answers as ours does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.stranger import Answer, Stranger, stranger
from tests.unit.cli.client.terminal import PATIENCE, Terminal

JSON = "application/json"
RECEIVER, DEVICE = "POST /event_receiver", "POST /api/v1/login/device"


def says(status: int = 200, /, **told: object) -> Answer:
    return Answer(status, json.dumps(told), JSON)


def refuses(status: int, sentence: str) -> Answer:
    return Answer(status, sentence, "text/plain")


@pytest.fixture(name="there")
def server(run: Run) -> Iterator[Stranger]:
    with stranger() as one:
        assert run("configure", f"endpoint={one.url}", "auth_strategy=Github").exit_code == 0
        one.answers["GET /api/v1/environments"] = says_list()
        yield one


def says_list() -> Answer:
    return Answer(200, "[]", JSON)


def sit(tmp_path: Path, *words: str, browser: bool) -> Terminal:
    """The command on a terminal, with a browser that writes down where it is sent, or none."""
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/visited\n')
    script.chmod(0o755)
    environ = {**os.environ, **({"BROWSER": str(script)} if browser else {})}
    return Terminal([sys.executable, "-m", "stager", *words], environ)


def visited(folder: Path) -> str:
    """Where the browser was sent: a command only starts it."""
    file = folder / "visited"
    deadline = time.monotonic() + PATIENCE
    while not file.exists() or not file.read_text().endswith("\n"):
        assert time.monotonic() < deadline, "no browser was opened"
        time.sleep(0.03)
    return file.read_text().strip()


@pytest.mark.requirement("R111", "R119", "R120")
def test_the_first_command_opens_the_browser_and_the_second_doesnt(
    there: Stranger, run: Run, tmp_path: Path
) -> None:
    there.answers[RECEIVER] = [
        says(
            url="https://github.test/login/oauth/authorize?state=s1",
            state="s1",
            expires_in=600,
            code="BCDF-GHJK",
        ),
        says(202, status="pending"),
        says(token="gho_secret", login="ann"),
    ]
    first = sit(tmp_path, "list", browser=True)
    assert first.ends() == 0
    assert visited(tmp_path) == "https://github.test/login/oauth/authorize?state=s1"
    assert "BCDF-GHJK" in first.said
    assert "Signed in as ann." in first.said
    assert "gho_secret" not in first.said

    bodies = [parse_qs(body) for method, path, _, body in there.asked if path == "/event_receiver"]
    [verifier] = {body["verifier"][0] for body in bodies[1:]}
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert bodies[0] == {"action": ["get_oauth_url"], "challenge": [digest]}
    assert {body["state"][0] for body in bodies[1:]} == {"s1"}
    assert [credentials for _, path, credentials, _ in there.asked if path == "/event_receiver"] == [""] * 3

    assert run("list").exit_code == 0
    assert there.asked[-1][2] == "Bearer gho_secret"
    assert run("logout").exit_code == 0
    assert there.asked[-1][:3] == ("DELETE", "/api/v1/session", "Bearer gho_secret")
    assert run("list").exit_code == 3


def test_a_code_where_there_is_no_browser(there: Stranger, run: Run, tmp_path: Path) -> None:
    there.answers[DEVICE] = says(
        handle="h",
        user_code="WDJB-MJHT",
        verification_uri="https://github.test/device",
        interval=0.1,
        expires_in=60,
    )
    there.answers[f"{DEVICE}/poll"] = [says(202, interval=0.1), says(token="gho_secret", login="ann")]
    login = sit(tmp_path, "login", browser=False)
    assert login.ends() == 0
    assert "Open https://github.test/device in any browser and enter this code: WDJB-MJHT" in login.said
    assert not (tmp_path / "visited").exists()
    assert run("list").exit_code == 0


def test_a_provider_that_is_away_for_a_moment_is_retried(there: Stranger, tmp_path: Path) -> None:
    there.answers[DEVICE] = says(
        handle="h",
        user_code="WDJB-MJHT",
        verification_uri="https://github.test/device",
        interval=0.1,
        expires_in=60,
    )
    away = Answer(503, json.dumps({"title": "GitHub doesn't answer."}), "application/problem+json")
    there.answers[f"{DEVICE}/poll"] = [away, says(202, interval=0.1), says(token="gho_secret", login="ann")]
    login = sit(tmp_path, "login", browser=False)
    assert login.ends() == 0, login.said
    assert "Signed in as ann." in login.said


def test_where_the_device_flow_is_switched_off_an_address_will_do(there: Stranger, tmp_path: Path) -> None:
    off = {"title": "Sign-in with GitHub failed.", "reason": "sign-in-unavailable"}
    there.answers[DEVICE] = Answer(404, json.dumps(off), "application/problem+json")
    there.answers[RECEIVER] = [
        says(url="https://github.test/authorize", state="s", expires_in=600),
        says(token="gho_secret", login="ann"),
    ]
    login = sit(tmp_path, "login", browser=False)
    assert login.ends() == 0, login.said
    assert "https://github.test/authorize" in login.said
    assert not (tmp_path / "visited").exists()


def test_a_refusal_comes_with_what_to_do(there: Stranger, tmp_path: Path) -> None:
    no = {"title": "Sign-in with GitHub failed.", "detail": "GitHub's error: 'Not Found'."}
    there.answers[DEVICE] = Answer(403, json.dumps(no), "application/problem+json")
    login = sit(tmp_path, "login", browser=False)
    assert login.ends() == 3
    assert "Sign-in with GitHub failed. GitHub's error: 'Not Found'." in login.said


@pytest.mark.parametrize(
    ("status", "sentence"), [(403, "Somebody said no."), (410, "There is no such sign-in, or not any more.")]
)
def test_a_refusal_is_passed_on(there: Stranger, tmp_path: Path, status: int, sentence: str) -> None:
    there.answers[RECEIVER] = [
        says(url="https://github.test/", state="s", expires_in=600),
        refuses(status, sentence),
    ]
    login = sit(tmp_path, "login", browser=True)
    assert login.ends() == 3
    assert sentence in login.said


def test_a_server_without_github_is_reported(there: Stranger, tmp_path: Path) -> None:
    there.answers[RECEIVER] = Answer(200, "", "text/plain")  # no listener takes the action
    login = sit(tmp_path, "login", browser=True)
    assert login.ends() == 3
    assert "This server doesn't offer signing in with GitHub." in login.said


@pytest.mark.parametrize("answer", [Answer(500), Answer(302, headers={"Location": "http://x.test/"})])
def test_a_session_that_cant_be_ended_is_reported_and_deleted(
    there: Stranger, run: Run, answer: Answer
) -> None:
    assert run("login", "--stdin", stdin="gho_secret\n").exit_code == 0
    there.answers["DELETE /api/v1/session"] = answer
    done = run("logout")
    assert done.exit_code == 0
    assert "The session on the server couldn't be ended" in done.stderr
    assert run("list").exit_code == 3


def test_without_a_terminal_there_is_no_prompt(there: Stranger, run: Run) -> None:
    done = run("list")
    assert done.exit_code == 3
    assert "Set STAGER_TOKEN" in done.stderr
    assert there.asked == []
