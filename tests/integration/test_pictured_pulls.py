"""Pictures of pull requests on real Docker: beside those of the base branch, in the comment, and the same for
the same page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.doubles.git import BareRepository
from tests.integration.conftest import MakeStager
from tests.integration.github import Github
from tests.integration.person import Person
from tests.integration.pictured import PAGE, PicturedPull, settings
from tests.integration.stager import PASSWORD, USER
from tests.integration.test_pictures import browser as browser  # noqa: PLC0414 (a fixture)
from tests.unit.docs.written import page_sample
from tests.unit.front.harness import free_port

IDENTICAL = 3
NAME = "stager.acme-shop.com"
"""A public name, as far as Stager knows."""
CHANGED = PAGE.replace("Fonts of our own", "Fonts of others")
FILE = """\
pictures:
  routes: [/]
  widths: [800]
  ignore:
    - {x: 0, y: 0, width: 800, height: 120}
"""
MakePull = Callable[..., PicturedPull]


@pytest.fixture
def make_pull(make_stager: MakeStager, github: Github, browser: str, tmp_path: Path) -> MakePull:
    """Makes a pull request's Stager, with the keys of the configuration that are given."""

    def make(**more: Any) -> PicturedPull:
        repository = BareRepository(tmp_path / "git" / "acme" / "shop.git")
        github.serve(tmp_path / "git")
        stager = make_stager(start=False, **{**settings(github), **more})
        return PicturedPull(stager, github, repository)

    return make


def test_identical_pushes_dont_differ(make_pull: MakePull) -> None:
    pull = make_pull()
    pull.open()
    for _ in range(IDENTICAL):
        album = pull.pictured()
        assert [each["changed"] for each in album["pictures"]] == [0, 0]
        pull.push()
    assert album["compared_with"] == "main"
    problems = album["pictures"][0]["problems"]
    assert "the cart is empty" in problems
    assert any("missing.png: status 404" in each for each in problems)
    pull.commented("unchanged from `main`, 2 problems in the page")


def test_a_change_is_shown_beside_the_base_in_the_comment(make_pull: MakePull, tmp_path: Path) -> None:
    port = free_port()
    pull = make_pull(domain=f"{NAME}:{port}")
    pull.stager.port = port
    pull.open(CHANGED)
    picture = (album := pull.pictured())["pictures"][0]
    assert picture["changed"] is not None, album
    assert 0 < picture["changed"] < 0.1
    comment = pull.commented("changed from `main`")
    urls = re.findall(r'<img src="([^"]+)"', comment)
    assert len(urls) == 4
    assert all(url.startswith(f"http://{NAME}:{port}/pictures/") for url in urls)
    for url in urls:
        found = pull.fetch(url)
        assert (found.status_code, found.content[:4]) == (200, b"\x89PNG")
    assert pull.fetch(urls[0][:-5] + "x.png").status_code == 404
    assert pull.fetch(f"http://{NAME}:{port}{picture['path']}").status_code == 401
    _save_by_command(pull, tmp_path)


def _save_by_command(pull: PicturedPull, folder: Path) -> None:
    folder = folder / "person"
    folder.mkdir()
    person = Person(folder, pull.stager.url)
    person.sign_in(USER, PASSWORD)
    command = shlex.split(page_sample("pictures.md", "stager pictures my-branch --save pictures"))
    target = folder / "pictures"
    done = person.run(*command[1:-1], str(target))
    assert (done.returncode, "%" in done.stdout) == (0, True), done.stderr
    names = sorted(file.name for file in target.iterdir())
    assert names == [
        "1-start-1280-before.png",
        "1-start-1280.png",
        "2-start-375-before.png",
        "2-start-375.png",
    ]
    person.leave()


def test_ignored_boxes_and_no_images_on_a_private_network(make_pull: MakePull) -> None:
    pull = make_pull()
    pull.open(CHANGED, FILE)
    album = pull.pictured()
    assert [(each["width"], each["changed"]) for each in album["pictures"]] == [(800, 0)]
    assert "<img" not in pull.commented("unchanged from `main`")
    page = httpx.get(
        f"{pull.stager.url}/previews/{pull.stager.environment('my-branch')['id']}",
        auth=(USER, PASSWORD),
        headers={"Host": f"localhost:{pull.stager.port}"},
        trust_env=False,
    )
    assert "unchanged" in page.text
