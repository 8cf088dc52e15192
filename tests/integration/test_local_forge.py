"""A local repository from the push to the preview: the real command, real git, real Docker."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from stager.web.forges.local_push import MAX_SHOWN, ONLY_DEFAULT_BRANCH
from tests.integration.conftest import MakeStager
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, until
from tests.local_forge.workshop import Clone


def with_repository(make_stager: MakeStager, tmp_path: Path, **more: Any) -> tuple[StagerUnderTest, Clone]:
    """A Stager with an application and a repository, which Stager itself makes."""
    bare = tmp_path / "git" / "shop.git"
    stager = make_stager(local_forge=str(bare.parent), images={"shop": {}}, **more)
    assert (bare / "HEAD").exists()
    clone = Clone(tmp_path / "clone", bare)
    assert clone.push("main") == [ONLY_DEFAULT_BRANCH]
    return stager, clone


def test_a_branch_from_its_first_push_to_its_end(make_stager: MakeStager, tmp_path: Path) -> None:
    stager, clone = with_repository(make_stager, tmp_path)
    first = clone.branch("warm-welcome")
    assert clone.push("warm-welcome") == [f"opened change 1, http://{stager.host('warm-welcome')}"]
    until(lambda: stager.get("warm-welcome").text == f"warm-welcome {first}", "it is live")

    second = clone.branch("warm-welcome")
    lines = clone.push("--force", "warm-welcome")
    assert lines == [f"updated change 1, http://{stager.host('warm-welcome')}"]
    until(lambda: stager.get("warm-welcome").text == f"warm-welcome {second}", "the push is shown")

    assert clone.push("--delete", "warm-welcome") == ["closed change 1, its preview is being removed"]
    until(lambda: stager.get("warm-welcome").status_code == 410, "it is gone")
    until(lambda: not stager.containers() and not stager.networks(), "nothing is left", 90)

    assert clone.push("warm-welcome") == [f"reopened change 1, http://{stager.host('warm-welcome')}"]
    until(lambda: stager.get("warm-welcome").text == f"warm-welcome {second}", "it is live again")
    assert stager.environment("warm-welcome")["change"]["number"] == 1


def test_what_was_pushed_while_stager_was_away(make_stager: MakeStager, tmp_path: Path) -> None:
    stager, clone = with_repository(make_stager, tmp_path)
    gone, stays = clone.branch("gone"), clone.branch("stays")
    clone.push("gone", "stays")
    until(lambda: stager.get("gone").text == f"gone {gone}", "it is live")
    until(lambda: stager.get("stays").text == f"stays {stays}", "the other one, too")
    stager.kill9()
    clone.push(":gone")
    new = clone.branch("new")
    clone.push("new")
    stays = clone.branch("stays")
    clone.push("--force", "stays")
    stager.start()

    until(lambda: stager.get("new").text == f"new {new}", "the resync finds the new branch")
    until(lambda: stager.get("stays").text == f"stays {stays}", "and the push")
    until(lambda: stager.get("gone").status_code == 410, "and that one was deleted")


def test_many_branches_at_once(make_stager: MakeStager, tmp_path: Path) -> None:
    stager, clone = with_repository(make_stager, tmp_path)
    names = ["one", "two", "three", "four"]
    for name in names:
        clone.branch(name)
    lines = clone.push(*names)
    assert sorted(lines) == [f"opened change {n}, its preview is being launched" for n in (1, 2, 3, 4)]
    for name in names:
        stager.wait_for(name, "live")
    clone.branch("five")
    few = clone.push(":one", ":two", "five")
    assert sorted(few) == [
        "closed change 2, its preview is being removed",
        "closed change 4, its preview is being removed",
        f"opened change 5, http://{stager.host('five')}",
    ]


def test_too_many_branches_are_reported_together(make_stager: MakeStager, tmp_path: Path) -> None:
    bare = tmp_path / "git" / "shop.git"
    rules = {"bases": ["release/*"]}  # which is none of theirs
    stager = make_stager(local_forge=str(bare.parent), images={"shop": {"pull_requests": rules}})
    clone = Clone(tmp_path / "clone", bare)
    *shown, last = clone.push("main", *(f"main:b{number}" for number in range(MAX_SHOWN + 2)))
    assert last == "and 2 more"
    assert len(shown) == MAX_SHOWN
    until(lambda: len(stager.api()) == MAX_SHOWN + 2, "all are known")


def test_over_http(make_stager: MakeStager, tmp_path: Path) -> None:
    stager, clone = with_repository(make_stager, tmp_path)
    url = f"http://{USER}:{PASSWORD.replace(':', '%3A')}@127.0.0.1:{stager.port}/git/shop.git"
    clone.git("remote", "set-url", "stager", url)
    (clone.folder / "much").write_bytes(bytes(range(256)) * 20_000)
    sha = clone.branch("x")
    assert clone.push("x") == [f"opened change 1, http://{stager.host('x')}"]
    until(lambda: stager.get("x").text == f"x {sha}", "it is live")

    clone.git("remote", "set-url", "stager", url.replace(USER, "nobody"))
    with pytest.raises(subprocess.CalledProcessError):
        clone.push(":x")


def test_a_repository_of_its_own_that_isnt_configured(make_stager: MakeStager) -> None:
    stager = make_stager()
    answer = stager.post("/git/shop.git/git-receive-pack")
    assert (answer.status_code, "`local_forge` in the configuration is empty" in answer.text) == (404, True)


def test_a_manual_launch_finds_branches_and_tags_only(make_stager: MakeStager, tmp_path: Path) -> None:
    """What lies in `refs/pull` may be a stranger's, and a manual launch is trusted."""
    bare = tmp_path / "git" / "shop.git"
    stager = make_stager(local_forge=str(bare.parent), images={"shop": {"image": "stager-test/none:{sha}"}})
    clone = Clone(tmp_path / "clone", bare)
    clone.push("main")
    sha = clone.branch("gone")
    clone.push("gone")
    clone.push("--delete", "gone")
    for name in ("refs/pull/1/head", "pull/1/head", "+refs/pull/1/head"):
        answer = stager.launch(name)
        assert (answer.status_code, "isn't the name of a branch or a tag" in answer.text) == (400, True)
    assert f"points to commit {sha}" in stager.launch(sha).text
    assert stager.containers() == []

    tip = clone.branch("here")
    clone.push("here")
    stager.launch(tip, wait="0")
    deployments = f"/environments/{stager.environment(tip)['id']}/deployments"
    until(lambda: [d["sha"] for d in stager.api(deployments)] == [tip], "its commit is found")
