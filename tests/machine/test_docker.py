"""Random histories of an installation on real Docker, with the real processes: a bounded number of steps.

`SEEDS=10-99 pytest tests/machine/test_docker.py` plays others; each takes about half a minute.
"""

from __future__ import annotations

import os

import pytest

from tests.integration.behind import Behind, behind, nginx
from tests.integration.conftest import app_image, engine, github, make_stager, second_engine
from tests.integration.github import Github
from tests.integration.nginx import NginxUnderTest
from tests.integration.own_engine import OwnEngine
from tests.integration.stager import StagerUnderTest
from tests.machine.engine_simulation import VOLUME, EngineSimulation
from tests.machine.simulation import Simulation

__all__ = ["app_image", "behind", "engine", "github", "make_stager", "nginx", "second_engine"]

ROUNDS, STEPS = 2, 15
FIRST, LAST = map(int, os.environ.get("SEEDS", "1-1").split("-"))
SEEDS = range(FIRST, LAST + 1)


def installation(behind: Behind, github: Github, **app: object) -> StagerUnderTest:
    return behind(
        images={"shop": {"repo_owner": "acme", **app}},
        post_launch_handlers=["AddGithubPullRequestCommentOnLaunch"],
        reconcile_interval="1s",
        resync_interval="1s",
        github=github.settings,
    )


def play(simulation: Simulation) -> None:
    try:
        for _ in range(ROUNDS):
            for _ in range(STEPS):
                simulation.step()
            simulation.rest()
    finally:
        print("\n".join(simulation.history))


@pytest.mark.requirement("R30", "R68")
@pytest.mark.parametrize("seed", SEEDS)
def test_any_history_ends_with_what_is_open_running(
    behind: Behind, nginx: NginxUnderTest, github: Github, seed: int
) -> None:
    play(Simulation(installation(behind, github), github, nginx, seed))


@pytest.mark.requirement("R30", "R68")
@pytest.mark.parametrize("seed", SEEDS)
def test_and_so_it_does_when_docker_goes(
    engine: OwnEngine, behind: Behind, nginx: NginxUnderTest, github: Github, seed: int
) -> None:
    play(EngineSimulation(installation(behind, github, **VOLUME), github, nginx, engine, seed))
