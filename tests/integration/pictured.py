"""A pull request of an application with a page that moves by itself, beside a preview of its base branch, and
a Stager that takes pictures of both."""

from __future__ import annotations

from typing import Any

import httpx

from tests.doubles.git import BareRepository
from tests.integration.github import Github
from tests.integration.stager import StagerUnderTest, until

BROWSER = "stager-base/chromium:1"
BASE, HEAD, NAME = "refs/heads/main", "refs/pull/1/head", "my-branch"
FONT = "/usr/share/fonts/truetype/liberation/LiberationSerif-Italic.ttf"
DOCKERFILE = f"""\
FROM stager-base/static:1
COPY --from={BROWSER} {FONT} /site/own.ttf
COPY index.html /site/
EXPOSE 8080
CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]
"""
PAGE = """\
<!doctype html>
<html lang="en">
<title>Shop</title>
<style>
  @font-face { font-family: Own; src: url(own.ttf); font-display: block }
  body { font: 24px Own, monospace; margin: 40px }
  @keyframes move { to { transform: translateX(300px) rotate(1turn) } }
  #box { width: 60px; height: 60px; background: teal; animation: move 1.3s infinite alternate }
  #bar { width: 10%; height: 20px; background: orange; transition: width 2s }
</style>
<h1>Fonts of our own</h1>
<p id="clock"></p><p id="frame"></p><p id="dice"></p><div id="box"></div><div id="bar"></div>
<img src="missing.png" alt="">
<script>
  setInterval(() => { clock.textContent = `${new Date()} ${Date.now()} ${performance.now()}` }, 7);
  const draw = (now) => { frame.textContent = now; requestAnimationFrame(draw) };
  requestAnimationFrame(draw);
  dice.textContent = Math.random();
  addEventListener("load", () => { bar.style.width = "90%" });
  console.error("the cart is empty");
</script>
"""


class PicturedPull:
    """The pull request.

    Args:
        stager: not started yet; with `settings` of this module.
        repository: that of acme/shop.
    """

    def __init__(self, stager: StagerUnderTest, github: Github, repository: BareRepository) -> None:
        self.stager, self.github, self._repository = stager, github, repository
        self._number = self._pushes = 0

    def open(self, page: str = PAGE, file: str = "") -> None:
        """Launch the base branch, wait for its pictures, and open the pull request with this page.

        Args:
            file: `.stager.yml` of both.
        """
        self._file = file
        self._repository.commit(self._files(PAGE), BASE)
        self.stager.start()
        self.stager.launched("main")
        until(lambda: self.album("main"), "the base has pictures", 90)
        sha = self._repository.commit(self._files(page), HEAD)
        self._number = self.github.open(NAME, sha)
        self._deliver("opened")

    def push(self, page: str = PAGE) -> str:
        """Push this page; each push is another commit. Returns its id."""
        self._pushes += 1
        sha = self._repository.commit(self._files(page), HEAD)
        self._deliver("synchronize", self.github.push(self._number, sha))
        return sha

    def pictured(self) -> dict[str, Any]:
        """Wait for the pictures of the newest commit."""
        wanted = self.github.sha(self._number)
        until(lambda: self._serves(wanted), "the commit is live", 120)
        return until(lambda: self.album(NAME), "the pictures are taken", 90)

    def instances(self) -> list[str]:
        """The ids of the containers of the pull request's preview."""
        return self.stager.containers(f"label=stager.environment={self.stager.environment(NAME)['id']}")

    def album(self, name: str) -> dict[str, Any] | None:
        """The pictures of a preview's live deployment; None before they are taken."""
        id_ = self.stager.environment(name)["id"]
        found: dict[str, Any] = self.stager.api(f"/environments/{id_}/pictures")
        deployments = self.stager.api(f"/environments/{id_}/deployments")
        return found if found["deployment"] == deployments[0]["id"] else None

    def comment(self) -> str:
        """Stager's comment in the pull request."""
        said = zip(self.github.comments(self._number), self.github.commenters(self._number), strict=True)
        return next((str(body) for body, author in said if author == "stager-bot"), "")

    def commented(self, text: str) -> str:
        """Wait until the comment has this text."""
        until(lambda: text in self.comment(), f"the comment says {text!r}", 60)
        return self.comment()

    def fetch(self, url: str) -> httpx.Response:
        """What the forge's image proxy gets, which has no credentials."""
        parts = httpx.URL(url)
        own = f"{self.stager.url}{parts.raw_path.decode()}"
        return httpx.get(own, headers={"Host": parts.netloc.decode()}, trust_env=False)

    def _serves(self, sha: str) -> bool:
        known = [each for each in self.stager.api() if each["name"] == NAME]
        return bool(known) and known[0]["state"] == "live" and known[0]["sha"] == sha

    def _files(self, page: str) -> dict[str, object]:
        files: dict[str, object] = {"Dockerfile": DOCKERFILE, "index.html": page}
        if self._file:
            files[".stager.yml"] = self._file
        return {**files, "NOTES": f"push {self._pushes}"}

    def _deliver(self, action: str, before: str = "") -> None:
        answer = self.stager.deliver(self.github.event(action, self._number, before))
        assert answer.status_code == 202, answer.text


def settings(github: Github, **pictures: Any) -> dict[str, Any]:
    """The configuration of its Stager."""
    return {
        "github": github.settings,
        "images": {
            "shop": {"repo_owner": "acme", "build": ".", "image": None, "port": None, "command": None}
        },
        "post_launch_handlers": ["AddGithubPullRequestCommentOnLaunch"],
        "pictures": {"image": BROWSER, **pictures},
    }
