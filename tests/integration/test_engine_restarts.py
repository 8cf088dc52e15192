"""Docker itself goes: it is stopped, killed and started again under everything that runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.own_engine import OwnEngine
from tests.integration.stager import StagerUnderTest, docker, until

GOING: dict[str, Callable[[OwnEngine], None]] = {"stopped": OwnEngine.stop, "killed": OwnEngine.kill9}


def shows(stager: StagerUnderTest, name: str, text: str) -> bool:
    return stager.get(name).text == text


def is_ready(stager: StagerUnderTest) -> bool:
    return stager._client.get(f"{stager.url}/readyz").status_code == 200


@pytest.mark.parametrize("way", GOING)
def test_what_ran_runs_again(engine: OwnEngine, make_stager: MakeStager, way: str) -> None:
    stager = make_stager()
    names = ("one", "two", "three")
    for name in names:
        stager.launched(name, VERSION="1")
    GOING[way](engine)
    until(lambda: not is_ready(stager), "it is reported")
    engine.start()
    until(lambda: all(shows(stager, name, f"{name} 1") for name in names), "all run again")
    until(lambda: is_ready(stager), "it is ready again")
    assert len(stager.containers()) == len(stager.networks()) == 3
    # Events are heard again: long before the next pass, what is removed is made again.
    [container] = stager.containers("label=stager.name=one")
    docker("rm", "--force", container)
    until(lambda: stager.containers("label=stager.name=one") not in ([], [container]), "it was made again")
    until(lambda: shows(stager, "one", "one 1"), "one is up")


@pytest.mark.parametrize("way", GOING)
def test_what_sleeps_is_woken_by_a_visit(engine: OwnEngine, make_stager: MakeStager, way: str) -> None:
    """Whether Docker ended the paused container or left it paused, and that it ended is no failure."""
    stager = make_stager()
    stager.launched("one", VERSION="1")
    environment = stager.environment("one")
    stager.api(f"/environments/{environment['id']}/sleep", "POST")
    until(lambda: docker("ps", "--format", "{{.State}}") == "paused", "it is paused")
    GOING[way](engine)
    until(lambda: not is_ready(stager), "it is reported")
    engine.start()
    until(lambda: is_ready(stager), "it is ready again")
    assert stager.environment("one")["state"] == "asleep"
    assert stager.get("one").text == "one 1"
    assert stager.wait_for("one", "live")["generation"] == 1
    assert len(stager.containers()) == 1
    assert "instance_ended" not in stager.log.read_text()


def test_what_is_requested_meanwhile_is_done_afterwards(engine: OwnEngine, make_stager: MakeStager) -> None:
    stager = make_stager()
    for name in ("stays", "goes", "changes"):
        stager.launched(name, VERSION="1")
    engine.stop()
    assert stager.launch("new", VERSION="1", wait="0").status_code == 202
    assert stager.launch("changes", VERSION="2", wait="0").status_code == 202
    unsure = stager.kill("goes")
    assert (unsure.status_code, "Docker" in unsure.text) == (503, True), "it can't say yet that it is gone"
    engine.start()
    until(lambda: shows(stager, "new", "new 1"), "the new one is up")
    until(lambda: shows(stager, "changes", "changes 2"), "the changed one shows it")
    until(lambda: shows(stager, "stays", "stays 1"), "the other one runs again")
    assert stager.get("goes").status_code == 410
    until(lambda: len(stager.containers()) == len(stager.networks()) == 3, "nothing is left over")


def test_engine_and_control_plane_go_together(engine: OwnEngine, make_stager: MakeStager) -> None:
    """As when the machine is rebooted; but here Stager comes up first, and has to wait for Docker."""
    stager = make_stager()
    stager.launched("test", VERSION="1")
    stager.kill9()
    stager.kill_front()
    engine.kill9()
    engine.start()
    stager.start()
    until(lambda: shows(stager, "test", "test 1"), "it runs again")
    assert len(stager.containers()) == len(stager.networks()) == 1
