"""What is outside the bare machine in the way by GitHub: GitHub, with one repository and a pull request.

It runs on the machine itself, as root: `python -m tests.soak.outside FOLDER CONFIG`. It writes the
configuration, and waits for a line on standard input, until Stager was restarted. Then a branch is pushed, a
pull request opened, and GitHub delivers that, signed. It prints what the preview's visitors get.
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
from tests.unit.docs.pages import samples

DOMAIN, SECRET = "demo.example.org", "hook-secret"
PATIENCE = 300.0


def main(folder: Path, config: Path) -> None:
    """Do it."""
    with running_github() as github, tempfile.TemporaryDirectory() as git:
        Path(git).chmod(0o755)
        repository = BareRepository(Path(git) / "acme" / "shop.git")
        github.serve(Path(git))
        files = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
        repository.commit(files, "refs/heads/main")
        branch = f"by-github-{folder.parent.name}"
        number = github.open(branch, repository.commit(files, "refs/pull/1/head", f"refs/heads/{branch}"))
        config.write_text(yaml.safe_dump(configuration(github, folder.parent.name)))
        print("written", flush=True)
        input()  # until Stager runs with it
        deliver(github, number)
        print(visit(branch), flush=True)
        input()


def configuration(github: Github, app: str) -> dict[str, object]:
    """The tutorial's, with the double's address and repository, and the state folder of a service.

    Args:
        app: the name of the application: each project's is another, as its pull request has the same number.
    """
    [sample] = [each.text for each in samples("yaml") if each.page.name == "tutorial.md"]
    written: dict[str, object] = yaml.safe_load(sample.replace("your-account/", "acme/"))
    written["images"] = {app: yaml.safe_load(sample)["images"]["shop"] | {"repo": "acme/shop"}}
    return {**written, "state_dir": "/var/lib/stager", "github": github.settings}


def deliver(github: Github, number: int) -> None:
    """As GitHub delivers that a pull request was opened."""
    headers, body = signed("pull_request", github.event("opened", number), SECRET)
    url = "http://127.0.0.1/event_receiver"
    answer = httpx.post(url, content=body, headers={**headers, "Host": DOMAIN}, trust_env=False)
    assert answer.status_code == 202, answer.text


def visit(branch: str) -> str:
    """What the preview answers as soon as it is live."""
    deadline, text = time.monotonic() + PATIENCE, ""
    while time.monotonic() < deadline:
        answer = httpx.get("http://127.0.0.1/", headers={"Host": f"{branch}.{DOMAIN}"}, trust_env=False)
        text = answer.text
        if answer.status_code == 200:
            return text
        time.sleep(0.5)
    return f"not live within {PATIENCE:g} s: {text}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
