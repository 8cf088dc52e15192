"""What GitHub and Stager's own page show of a preview, from its first moment to its last."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.building import DOCKERFILE, MakeRig, Rig, make_rig
from tests.integration.conftest import MakeStager
from tests.integration.github import Github
from tests.integration.stager import StagerUnderTest, until

__all__ = ["make_rig"]

SLOW = f"{DOCKERFILE}RUN echo {uuid4()}; for i in $(seq 15); do echo line $i; sleep 1; done\n"
"""Of another id each time, or BuildKit would have it in its cache."""


def shop(make_stager: MakeStager, github: Github, **settings: Any) -> StagerUnderTest:
    """A Stager that knows GitHub, and whose application takes a second to boot."""
    stager = make_stager(
        images={"shop": {"repo_owner": "acme", "env": {"BOOT": "1"}}},
        resync_interval="1h",
        github={**github.settings, **settings},
    )
    assert stager.api() == []  # from now on it knows what it is called, and can link to its pages
    return stager


def last(github: Github, sha: str) -> dict[str, Any]:
    """The last status of a commit."""
    return (github.statuses(sha) or [{"state": ""}])[-1]


def test_deployments_and_statuses_follow_and_end(make_stager: MakeStager, github: Github) -> None:
    stager = shop(make_stager, github)
    number = github.open("my-branch")
    first = github.sha(number)
    stager.deliver(github.event("opened", number))
    until(lambda: last(github, first)["state"] == "success", "the commit's status ends")
    [deployment] = github.deployments()
    page = f"/previews/{stager.environment('my-branch')['id']}"

    assert [s["state"] for s in github.statuses(first)] == ["pending", "success"]
    assert last(github, first)["context"] == "stager/shop"
    until(lambda: deployment.state == "success", "the deployment is there")
    assert (deployment.environment, deployment.sha) == ("preview/shop/pr-1", first)
    assert deployment.statuses[-1]["environment_url"].startswith("http://my-branch.localhost")
    assert deployment.statuses[-1]["log_url"].endswith(page)
    before = github.push(number)
    stager.deliver(github.event("synchronize", number, before))
    second = github.sha(number)
    until(lambda: last(github, second)["state"] == "success", "so does that of the push")
    until(lambda: [d.state for d in github.deployments()] == ["inactive", "success"], "one is shown")
    github.close(number)
    stager.deliver(github.event("closed", number))
    until(lambda: [d.state for d in github.deployments()] == ["inactive"] * 2, "none is shown")
    assert last(github, second)["state"] == "success"


def test_a_kill_leaves_no_commit_waiting(make_stager: MakeStager, github: Github) -> None:
    stager = shop(make_stager, github)
    number = github.open("my-branch")
    first = github.sha(number)
    stager.deliver(github.event("opened", number))
    until(lambda: last(github, first)["state"] == "pending", "it waits")
    stager.kill9()
    before = github.push(number)
    stager.start()
    stager.deliver(github.event("synchronize", number, before))
    until(lambda: last(github, github.sha(number))["state"] == "success", "the newer one is up")

    assert last(github, first)["state"] == "success"
    assert (
        "newer commit" in last(github, first)["description"] or "live" in last(github, first)["description"]
    )


def test_what_is_refused_says_why_and_bars_no_merge(make_stager: MakeStager, github: Github) -> None:
    stager = shop(make_stager, github, comments=True)
    number = github.open("my-branch", fork_of="mallory")
    stager.deliver(github.event("opened", number))
    until(lambda: last(github, github.sha(number))["state"] == "success", "the status ends")
    [comment] = until(lambda: github.comments(number), "there is a comment")

    assert "newest commit isn't approved" in last(github, github.sha(number))["description"]
    assert f"/stager approve {github.sha(number)}" in comment
    assert github.deployments() == []


@pytest.mark.parametrize("off", ["deployments", "statuses"])
def test_each_can_be_switched_off(make_stager: MakeStager, github: Github, off: str) -> None:
    stager = shop(make_stager, github, comments=True, **{off: False})
    number = github.open("my-branch")
    stager.deliver(github.event("opened", number))
    until(lambda: github.comments(number), "the comment is there")

    if off == "deployments":
        until(lambda: last(github, github.sha(number))["state"] == "success", "the status is there")
        assert github.deployments() == []
    else:
        until(lambda: [d.state for d in github.deployments()] == ["success"], "the deployment is there")
        assert github.statuses(github.sha(number)) == []


def test_a_build_is_followed_over_http_and_in_a_terminal(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    pushing = threading.Thread(target=lambda: rig.branch("feature", {"Dockerfile": SLOW}))
    pushing.start()
    rig.stager.wait_for("feature", "building")
    command = [sys.executable, "-m", "stager", "build-log", "feature", "-f", "-c", str(rig.stager.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as terminal:
        assert terminal.stdout is not None
        seen = next(line for line in terminal.stdout if "line 2" in line)
        assert rig.stager.environment("feature")["state"] == "building", "it is followed as it goes"
        rest = terminal.stdout.read()
    assert terminal.returncode == 0
    pushing.join()
    environment = rig.stager.environment("feature")["id"]
    whole = rig.stager.text(f"/environments/{environment}/build-log?follow=true")

    assert seen in whole
    assert "line 15" in rest
    assert whole.endswith(rest)
