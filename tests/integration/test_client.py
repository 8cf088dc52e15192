"""The client commands as a person has them: the real command, on a terminal, with a real Stager on real
Docker."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.person import Person
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, docker, until


@pytest.fixture
def person(tmp_path: Path, stager: StagerUnderTest) -> Iterator[Person]:
    folder = tmp_path / "person"
    folder.mkdir()
    person = Person(folder, stager.url)
    yield person
    person.leave()


@pytest.mark.requirement("R109", "R112", "R113", "R116", "R117", "R118", "R121", "R122", "X10")
def test_from_nothing_to_a_browser_at_the_preview_and_back(person: Person, stager: StagerUnderTest) -> None:
    configured = person.sit("configure", f"endpoint={stager.url}", "auth_strategy=Basic")
    assert configured.ends() == 0

    launching = person.sit("launch", "shop", "master")
    launching.wait_for("User name: ")
    launching.type(f"{USER}\n")
    launching.wait_for(f"Password of {USER}: ")
    launching.type(f"{PASSWORD}\n")
    assert launching.ends() == 0
    assert "Live after" in launching.said
    assert PASSWORD not in launching.said
    url = f"http://master.localhost:{stager.port}"
    assert person.visits(1) == [url]
    assert "master" in stager.get("master").text

    killing = person.sit("kill", "shop", "master")
    killing.wait_for(f"Password of {USER}: ")  # the name was saved
    killing.type(f"{PASSWORD}\n")
    assert killing.ends() == 0
    assert stager.get("master").status_code == 410
    until(lambda: not stager.containers(), "its container is gone")


def test_in_a_script(person: Person, stager: StagerUnderTest) -> None:
    person.sign_in(USER, PASSWORD)
    launched = person.run("launch", "shop", "x", "--set", "VERSION=7")
    assert (launched.returncode, launched.stdout) == (0, f"http://x.localhost:{stager.port}\n")
    assert not person.visited.exists()
    assert stager.get("x").text == "x 7"

    listed = person.run("list", "--json")
    assert [(p["app"], p["name"], p["state"]) for p in json.loads(listed.stdout)] == [("shop", "x", "live")]
    assert "x" in person.run("show", "x").stdout

    failed = person.run("launch", "shop", "broken", "--set", "EXIT=3")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "giving up: the database is missing" in failed.stderr
    assert "Traceback" not in failed.stderr

    assert person.run("kill", f"http://x.localhost:{stager.port}").returncode == 0
    assert person.run("kill", "shop", "x").returncode == 5


def test_inside_a_preview(person: Person, stager: StagerUnderTest) -> None:
    person.sign_in(USER, PASSWORD)
    assert person.run("launch", "shop", "x").returncode == 0

    done = person.run("exec", "shop", "x", "--", "sh", "-c", "echo $container_name; exit 42")
    assert (done.returncode, done.stdout) == (42, "x\n")

    shell = person.sit("exec", "x")
    shell.wait_for("# ")  # the prompt
    shell.type("stty size; echo $((6*7)) $TERM\r")
    shell.wait_for("42 xterm-256color")
    assert "40 120" in shell.said
    [container] = stager.containers()
    shell.type("sleep 4321\r")
    until(lambda: "sleep 4321" in docker("top", container), "it sleeps")
    shell.type("\x03")  # goes to the other end, and ends only what runs there
    shell.wait_for("^C")
    shell.type("exit 5\r")
    assert shell.ends() == 5

    following = person.sit("logs", "x", "--follow")
    following.wait_for("booting x")
    assert person.run("redeploy", "x").returncode == 0
    until(lambda: following.said.count("booting x") == 2, "the next instance's output follows")
    following.process.send_signal(signal.SIGINT)
    assert following.ends() == 130


def test_what_is_left_in_a_terminal_is_interrupted(person: Person, stager: StagerUnderTest) -> None:
    person.sign_in(USER, PASSWORD)
    assert person.run("launch", "shop", "x").returncode == 0
    [container] = stager.containers()
    shell = person.sit("exec", "x")
    shell.wait_for("# ")  # the prompt
    shell.type("sleep 4321\r")
    until(lambda: "sleep 4321" in docker("top", container), "it sleeps")
    shell.process.kill()
    shell.process.wait()
    until(lambda: "sleep" not in docker("top", container), "nothing is left of it")
    until(lambda: "bash" not in docker("top", container), "nor of the shell")
    assert stager.get("x").status_code == 200


def test_waiting_for_what_isnt_there_yet(person: Person, stager: StagerUnderTest) -> None:
    person.sign_in(USER, PASSWORD)
    waiting = person.sit("wait", "shop", "x")
    waiting.wait_for("Waiting for the preview to be created")
    assert stager.launched("x")
    assert waiting.ends() == 0
    assert f"http://x.localhost:{stager.port}" in waiting.said

    assert person.run("wait", "shop", "y", "--timeout", "0.5").returncode == 6
    assert person.run("wait", "shop", "x", "--sha", "c0ffee1", "--timeout", "0.5").returncode == 6
    assert stager.launch("z", EXIT="3").status_code == 503
    assert person.run("wait", "shop", "z").returncode == 1


def test_the_server_restarts_in_the_middle_of_a_launch(person: Person, stager: StagerUnderTest) -> None:
    person.sign_in(USER, PASSWORD)
    launching = person.sit("launch", "shop", "slow", "--set", "BOOT=4", "--no-open")
    launching.wait_for("Waiting for the health check")
    stager.restart()
    assert launching.ends() == 0
    assert f"http://slow.localhost:{stager.port}" in launching.said
