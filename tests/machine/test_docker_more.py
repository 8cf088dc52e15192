"""Random histories of an installation on real Docker, with the real processes: a bounded number of steps."""

from __future__ import annotations

import pytest

from tests.integration.conftest import MakeStager, app_image, github, make_stager
from tests.integration.github import Github
from tests.machine.town import Town

__all__ = ["app_image", "github", "make_stager"]

ROUNDS, STEPS = 3, 20


@pytest.mark.requirement("R30", "R68")
@pytest.mark.parametrize("seed", [4, 5, 6, 7, 8, 9, 10, 11])
def test_any_history_ends_with_what_is_open_running(
    make_stager: MakeStager, github: Github, seed: int
) -> None:
    stager = make_stager(
        images={"shop": {"repo_owner": "acme"}},
        post_launch_handlers=["AddGithubPullRequestCommentOnLaunch"],
        pass_every="1s",
        resync_every="1s",
        github=github.settings,
    )
    town = Town(stager, github, seed)
    try:
        for _ in range(ROUNDS):
            for _ in range(STEPS):
                town.step()
            town.rest()
    finally:
        print("\n".join(town.history))
