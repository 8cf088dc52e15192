"""What is outside the bare machine in the way by GitHub: GitHub itself, with one repository and a pull request.

It runs on the machine, because that is the only network that both have: `python -m tests.soak.outside FOLDER
CONFIG`, as root. Somebody writes the configuration, restarts Stager, pushes a branch and opens a pull request;
GitHub delivers, signed. It ends when the preview is live, and prints what its visitors get.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import httpx
import yaml

from tests.doubles.git import BareRepository
from tests.doubles.github import signed
from tests.integration.github import Github, running_github

DOMAIN, SECRET, BRANCH = "demo.example.org", "hook-secret", "by-github"
PATIENCE = 300.0


def main(folder: Path, config: Path) -> None:
    """Do it."""
    with running_github() as github, tempfile.TemporaryDirectory() as git:
        Path(git).chmod(0o755)
        repository = BareRepository(Path(git) / "acme" / "shop.git")
        github.serve(Path(git))
        files = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
        repository.commit(files, "refs/heads/main")
        number = github.open(BRANCH, repository.commit(files, "refs/pull/1/head", f"refs/heads/{BRANCH}"))
        config.write_text(yaml.safe_dump(configuration(github)))
        print("written", flush=True)
        input()  # until Stager runs with it
        deliver(github, number)
        print(visit(), flush=True)
        input()


def configuration(github: Github) -> dict[str, object]:
    """The file that somebody writes."""
    return {
        "listen": "0.0.0.0:80",
        "domain": DOMAIN,
        "state_dir": "/var/lib/stager",
        "log_format": "json",
        "github": github.settings,
        "event_listeners": ["LaunchOnGithubPullRequestOpened", "KillOnGithubPullRequestClosed"],
        "images": {"shop": {"build": ".", "repo": "acme/shop"}},
    }


def deliver(github: Github, number: int) -> None:
    """As GitHub delivers that a pull request was opened."""
    headers, body = signed("pull_request", github.event("opened", number), SECRET)
    url = "http://127.0.0.1/event_receiver"
    answer = httpx.post(url, content=body, headers={**headers, "Host": DOMAIN}, trust_env=False)
    assert answer.status_code == 202, answer.text


def visit() -> str:
    """What the preview answers as soon as it is live."""
    deadline, text = time.monotonic() + PATIENCE, ""
    while time.monotonic() < deadline:
        answer = httpx.get("http://127.0.0.1/", headers={"Host": f"{BRANCH}.{DOMAIN}"}, trust_env=False)
        text = answer.text
        if answer.status_code == 200:
            return text
        time.sleep(0.5)
    return f"not live within {PATIENCE:g} s: {text}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
