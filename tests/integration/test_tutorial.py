"""The tutorial's configuration as written, from the webhook to the removed preview."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import MakeStager
from tests.integration.github import Github
from tests.integration.stager import until

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"


def written() -> dict[str, Any]:
    """The configuration on the page."""
    [text] = re.findall(r"^```yaml\n(.*?)^```", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)
    return dict(yaml.safe_load(text))


class Repository:
    """A developer's clone of the example, and the repository that Stager fetches from."""

    def __init__(self, folder: Path) -> None:
        self._clone = folder / "clone"
        shutil.copytree(ROOT / "examples" / "static-site", self._clone)
        self._git("init", "--quiet", "--initial-branch", "main")
        self.commit("Main")
        bare = folder / "git" / "acme" / "shop.git"
        bare.parent.mkdir(parents=True)
        subprocess.run(["git", "clone", "--quiet", "--bare", self._clone, bare], check=True)
        self._git("remote", "add", "origin", str(bare))
        self._git("checkout", "--quiet", "-b", "warm-welcome")

    def commit(self, heading: str) -> str:
        """Commit another heading of the page; returns the commit's id."""
        page = self._clone / "site" / "index.html"
        page.write_text(re.sub("<h1>.*</h1>", f"<h1>{heading}</h1>", page.read_text()))
        self._git("add", "--all")
        self._git("-c", "user.name=Dev", "-c", "user.email=dev@localhost", "commit", "--quiet", "-m", heading)
        return self._git("rev-parse", "HEAD")

    def push(self) -> None:
        self._git("push", "--quiet", "origin", "warm-welcome")

    def _git(self, *arguments: str) -> str:
        environ = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        command = ["git", "-C", str(self._clone), *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.requirement("R77", "R88")
def test_a_preview_for_every_pull_request(make_stager: MakeStager, github: Github, tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    github.serve(tmp_path / "git")
    shop = written()["images"]["shop"]
    assert shop == {"repo": "your-account/shop", "build": ".", "port": 3000}
    # The example listens on 8080, and belongs to another account.
    images = {"shop": {**shop, "repo": "acme/shop", "port": 8080}}
    stager = make_stager(github=github.settings, images=images, event_listeners=None)

    sha = repository.commit("A warm welcome")
    repository.push()
    number = github.open("warm-welcome", sha)
    stager.deliver(github.event("opened", number))
    live = stager.wait_for("warm-welcome", "live")
    assert live["url"] == f"http://warm-welcome.localhost:{stager.port}"
    assert "A warm welcome" in stager.get("warm-welcome").text
    until(lambda: live["url"] in "".join(github.comments(number)), "the comment has the URL")

    sha = repository.commit("Warmer still")
    repository.push()
    before = github.push(number, sha)
    stager.deliver(github.event("synchronize", number, before))
    until(lambda: "Warmer still" in stager.get("warm-welcome").text, "the same URL shows the new commit")

    github.close(number)
    stager.deliver(github.event("closed", number))
    until(lambda: stager.get("warm-welcome").status_code == 410, "the URL says that it was removed")
    until(lambda: not stager.containers(), "its container is removed")
