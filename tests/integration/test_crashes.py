"""Killed processes: whichever is killed, and whenever, the next reconciliation repairs everything."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.pulls import Pull
from tests.integration.stager import StagerUnderTest, docker, until


def phase(stager: StagerUnderTest, wanted: str) -> None:
    """Wait until the newest deployment of the only environment is in this phase."""

    def look() -> bool:
        environments = stager.api()
        if not environments:
            return False
        deployments = stager.api(f"/environments/{environments[0]['id']}/deployments")
        return bool(deployments) and deployments[0]["phase"] == wanted

    until(look, f"it is {wanted}")


def settled(stager: StagerUnderTest, text: str) -> None:
    """Wait until the preview shows this, from exactly one instance in exactly one network."""
    until(lambda: stager.get("test").text == text, f"the preview shows {text}")
    until(lambda: len(stager.containers()) == 1, "one instance is left")
    until(lambda: len(stager.networks()) == 1, "one network is left")


@pytest.mark.parametrize("moment", ["queued", "container", "checking", "live"])
def test_the_control_plane_killed_in_each_phase_of_a_launch(stager: StagerUnderTest, moment: str) -> None:
    stager.launch(VERSION="1", BOOT="1.5", wait="0")
    if moment == "container":
        until(stager.containers, "the container is there")
    elif moment != "queued":
        phase(stager, moment)
    stager.restart()
    settled(stager, "test 1")


@pytest.mark.parametrize("moment", ["queued", "container", "checking", "live"])
def test_the_control_plane_killed_in_each_phase_of_a_refresh(stager: StagerUnderTest, moment: str) -> None:
    stager.launched(VERSION="1")
    old = stager.containers()
    stager.launch(VERSION="2", BOOT="1.5", wait="0")
    if moment == "container":
        until(lambda: set(stager.containers()) - set(old), "the second container is there")
    elif moment != "queued":
        phase(stager, moment)
    stager.kill9()
    assert stager.get("test").status_code == 200
    stager.start()
    settled(stager, "test 2")


def test_the_control_plane_killed_while_it_removes(stager: StagerUnderTest) -> None:
    stager.launched()
    stager.post("/kill", image_name="shop", container_name="test", wait="0")
    stager.restart()
    stager.connect_again()
    until(lambda: not stager.containers() and not stager.networks(), "nothing is left")
    assert stager.get("test").status_code == 410


def test_a_delivery_accepted_before_the_kill_is_not_lost(stager: StagerUnderTest) -> None:
    for number in range(1, 6):
        assert stager.deliver(Pull(number, f"branch-{number}").opened()).status_code == 202
    stager.restart()
    for number in range(1, 6):
        stager.wait_for(f"branch-{number}", "live")


@pytest.mark.parametrize("moment", ["starting", "live"])
def test_the_front_killed_comes_back_with_its_table(stager: StagerUnderTest, moment: str) -> None:
    stager.launch(VERSION="1", BOOT="1.5" if moment == "starting" else "0", wait="0")
    if moment == "live":
        phase(stager, "live")
    first = stager.front_pid
    stager.kill_front()
    until(lambda: stager.front_pid not in (0, first), "another front runs", 20)
    settled(stager, "test 1")


def test_both_killed_start_again_together(stager: StagerUnderTest) -> None:
    stager.launched(VERSION="1")
    stager.kill9()
    stager.kill_front()
    stager.start()
    settled(stager, "test 1")


def test_a_container_removed_behind_our_back_is_made_again(stager: StagerUnderTest) -> None:
    stager.launched(VERSION="1")
    docker("rm", "--force", *stager.containers())
    settled(stager, "test 1")


def test_a_container_stopped_behind_our_back_is_started_again(stager: StagerUnderTest) -> None:
    stager.launched(VERSION="1")
    docker("stop", "--time", "1", *stager.containers())
    settled(stager, "test 1")


def test_an_application_that_ends_by_itself_is_started_again(stager: StagerUnderTest) -> None:
    stager.launched(VERSION="1", LIVES="1")
    first = stager.inspect(stager.containers()[0])["State"]["StartedAt"]
    until(
        lambda: stager.inspect(stager.containers()[0])["State"]["StartedAt"] != first, "it was started again"
    )
    until(lambda: stager.get("test").text == "test 1", "it serves again")


def test_a_lost_database_loses_no_preview(stager: StagerUnderTest) -> None:
    pull = Pull()
    stager.launched(VERSION="1")
    stager.deliver(pull.opened())
    stager.wait_for("my-branch", "live")
    before = set(stager.containers())
    stager.kill9()
    for file in Path(stager.state).glob("stager.db*"):
        file.unlink()
    stager.start()
    assert stager.get("test").text == "test 1"
    assert stager.get("my-branch").status_code == 200
    stager.wait_for("test", "live")
    stager.wait_for("my-branch", "live")
    assert set(stager.containers()) == before
    stager.deliver(pull.push())
    until(lambda: stager.get("my-branch").text == f"my-branch {pull.sha}", "the push is shown")
    stager.deliver(pull.closed())
    assert stager.kill("test").text == "ok"
    until(lambda: not stager.containers(), "all is removed")


def test_networks_of_removed_previews_go(stager: StagerUnderTest) -> None:
    for name in ("a", "b", "c"):
        stager.launched(name)
    for name in ("a", "b", "c"):
        stager.kill(name)
    stager.restart()
    until(lambda: not stager.networks(), "no network is left")


def test_a_second_stager_in_the_same_folder_is_refused(stager: StagerUnderTest) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stager", "serve", "--config", str(stager.config)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"process {stager.control_pid}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_control_plane_stops_within_seconds_while_it_works(stager: StagerUnderTest) -> None:
    stager.launch(BOOT="60", wait="0")
    phase(stager, "checking")
    begun = time.monotonic()
    assert stager.terminate() == 0
    assert time.monotonic() - begun < 30, "a hang, not a slow machine"
    assert not os.path.exists(f"/proc/{stager.control_pid}/fd/0")
