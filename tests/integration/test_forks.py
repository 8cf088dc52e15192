"""Pull requests from forks: what runs of them and when, and what they never get to see."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.git import BareRepository
from tests.integration.conftest import MakeStager
from tests.integration.github import TOKEN, USER, Github
from tests.integration.installed import InstalledStager
from tests.integration.own_builder import own_builder
from tests.integration.person import Person
from tests.integration.stager import PASSWORD, SECRET, StagerUnderTest, docker, until
from tests.integration.stager import USER as STAGER_USER
from tests.unit.docs.written import page_sample

BASE, HEAD = "refs/heads/main", "refs/pull/1/head"
NAME = "feature"
OTHER_COMMIT = "isn't the commit that is waiting for approval"
BASE_IMAGE = "stager-base/static:1"
DOCKERFILE = """\
FROM stager-base/static:1
COPY page /site/index.html
RUN --mount=type=secret,id=npm cat /run/secrets/npm 2>/dev/null | wc -c > /site/length; sleep 1
EXPOSE 8080
CMD ["sh", "-c", "echo $GREETING > /site/greeting; exec httpd -f -p 8080 -h /site"]
"""
SECRETS = {
    "secrets": "S3cret-of-the-app-77c",
    "env by reference": "S3cret-by-reference-0b2",
    "build secrets": "S3cret-of-the-build-9f1",
    "token": TOKEN,
    "token as sent": base64.b64encode(f"{USER}:{TOKEN}".encode()).decode(),
    "hook secret": SECRET,
    "password": PASSWORD,
}


def files(page: str, greeting: str) -> dict[str, object]:
    """A commit's, with the repository's own file."""
    return {"Dockerfile": DOCKERFILE, "page": page, ".stager.yml": f"env: {{GREETING: {greeting}}}\n"}


class Rig:
    """A Stager that builds acme/shop, and a stranger's fork with a pull request."""

    def __init__(self, stager: StagerUnderTest, github: Github, repository: BareRepository) -> None:
        self.stager, self.github, self.repository = stager, github, repository
        repository.commit(files("base", "of-the-base"), BASE)
        github.let_push("olga")

    def open(self) -> str:
        """The stranger opens it; the commit."""
        sha = self.repository.commit(files("first", "of-the-fork"), HEAD)
        self.number = self.github.open(NAME, sha, fork_of="mallory")
        self.deliver("opened")
        return sha

    def push(self) -> str:
        sha = self.repository.commit(files("second", "of-the-fork"), HEAD)
        self.deliver("synchronize", self.github.push(self.number, sha))
        return sha

    def deliver(self, action: str, before: str = "") -> None:
        answer = self.stager.deliver(self.github.event(action, self.number, before))
        assert answer.status_code == 202, answer.text

    def say(self, text: str, author: str) -> str:
        """A user comments; Stager's outcome."""
        delivery, payload = str(uuid.uuid4()), self.github.say(self.number, text, author)
        answer = self.stager.deliver(payload, event="issue_comment", delivery=delivery)
        assert answer.status_code == 202, answer.text
        return until(lambda: self._outcome(delivery), "the comment is heard")

    def _outcome(self, delivery: str) -> str:
        lines = [line for line in self.stager.log.read_text().splitlines() if "delivery_done" in line]
        return next((str(json.loads(line)["outcome"]) for line in lines if delivery in line), "")

    def comment(self) -> str:
        """Stager's own."""
        said = zip(self.github.comments(self.number), self.github.commenters(self.number), strict=True)
        return next((body for body, author in said if author == "stager-bot"), "")

    def commented(self, text: str) -> None:
        """Wait until Stager's comment says this."""
        until(lambda: text in self.comment(), f"the comment says {text!r}; now: {self.comment()}")

    @property
    def environment(self) -> dict[str, Any]:
        return self.stager.environment(NAME)

    def get(self, path: str = "/") -> str:
        host = self.environment["url"].removeprefix("http://").partition(".")[0]
        return self.stager.get(host, path).text

    def arguments_until_live(self, name: str) -> bytes:
        """Those of all processes on this machine, looked at until this preview is there."""
        seen = b""
        until(lambda: any(e["name"] == name for e in self.stager.api()), f"{name} is known")
        while (now := self.stager.environment(name))["state"] != "live":
            assert now["state"] != "failed", now
            seen += b"".join(_command_lines())
        return seen

    def nothing_runs(self) -> None:
        until(lambda: not self.stager.containers(), "nothing runs")


MakeRig = Any


@pytest.fixture
def make_rig(
    make_stager: MakeStager, github: Github, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeRig]:
    """Makes one, with the keys of the application that are given.

    `builds` is the section `forks` of the configuration; `helper` says whether a root helper has a builder.
    """
    monkeypatch.setenv("A_SECRET_ELSEWHERE", SECRETS["env by reference"])

    def make(builds: dict[str, Any] | None = None, helper: bool = True, **app: Any) -> Rig:
        repository = BareRepository(tmp_path / "git" / "acme" / "shop.git")
        github.serve(tmp_path / "git")
        given = {
            "repo_owner": "acme",
            "build": {"secrets": {"npm": SECRETS["build secrets"]}},
            "secrets": {"API_KEY": SECRETS["secrets"]},
            "env": {"DATABASE": "${A_SECRET_ELSEWHERE}", "MODE": "preview"},
            **app,
        }
        stager = make_stager(
            start=False,
            github=github.settings,
            images={"shop": given},
            post_launch_handlers=["AddGithubPullRequestCommentOnLaunch"],
        )
        stager.more = {"forks": {"base_images": [BASE_IMAGE]} if builds is None else builds}
        if isinstance(stager, InstalledStager):
            pass  # it has one
        elif helper:
            builder = stack.enter_context(own_builder(installation=stager.installation))
            stager.more |= {"helper": "required", "helper_socket": str(builder.socket)}
        else:
            stager.more["helper"] = "off"
        stager.start()
        return Rig(stager, github, repository)

    with contextlib.ExitStack() as stack:
        yield make


def test_a_commit_is_approved_and_another_one_is_not(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    first = rig.open()
    rig.commented(f"/stager approve {first}")
    assert "API\\_KEY, DATABASE, npm" in rig.comment(), "what it would go without"
    until(lambda: "from a fork" in rig.get(), "its page says why it waits")
    assert rig.environment["reason"] == "approval"

    assert rig.say(f"/stager approve {first}", "mallory") == "refused: no push access"
    assert OTHER_COMMIT in rig.say(f"/stager approve {first[:7]}{'0' * 33}", "olga")
    assert "isn't a full commit id" in rig.say(f"/stager approve {first[:7]}", "olga")
    assert "doesn't name a commit" in rig.say("/stager approve", "olga")
    assert "comes from a fork" in rig.say("/stager launch", "olga")
    assert rig.stager.containers() == []
    assert "build_started" not in rig.stager.log.read_text()

    rig.say(f"/stager approve {first}", "olga")
    rig.stager.wait_for(NAME, "live")
    assert rig.get() == "first"
    assert rig.get("/greeting") == "of-the-base\n", "a stranger's .stager.yml decides nothing"
    assert rig.environment["withheld"] == ["API_KEY", "DATABASE", "npm"]

    second = rig.push()
    rig.commented(f"/stager approve {second}")
    rig.nothing_runs()
    assert rig.get() not in ("first", "second")
    assert OTHER_COMMIT in rig.say(f"/stager approve {first}", "olga")
    assert rig.stager.containers() == []
    rig.say(f"/stager approve {second}", "olga")
    rig.stager.wait_for(NAME, "live")
    assert rig.get() == "second"


def test_a_commit_is_approved_by_command(make_rig: MakeRig, tmp_path: Path) -> None:
    """The page's command, with this commit, application and name."""
    rig: Rig = make_rig()
    sha = rig.open()
    rig.commented(f"/stager approve {sha}")
    person = Person(tmp_path, rig.stager.url)
    person.sign_in(STAGER_USER, PASSWORD)
    sample = page_sample("use-the-command-line.md", "stager approve ")
    [command, _, app, name] = sample.split()[1:]
    done = person.run(command, sha, *{"stager-demo": "shop"}[app].split(), *{"fix-typo": NAME}[name].split())
    assert done.returncode == 0, done.stderr
    rig.stager.wait_for(NAME, "live")


@pytest.mark.attack(
    "An approved commit, on a machine without the root helper",
    profile="build of a fork",
    result="not built (untrusted-builder-missing)",
)
def test_without_a_builder_of_its_own_it_is_not_built(
    make_rig: MakeRig, capfd: pytest.CaptureFixture[str]
) -> None:
    rig: Rig = make_rig(helper=False, forks="open")
    rig.stager.configure(helper="off")
    rig.stager.restart()
    rig.open()
    failed = rig.stager.wait_for(NAME, "failed")
    assert failed["reason"] == "untrusted-builder-missing"
    assert "stager-helper" in failed["hint"]
    rig.commented("the builder for untrusted code isn't set up")
    until(lambda: "the builder for untrusted code isn" in rig.get(), "its page says so")
    assert "untrusted-builder-missing" in rig.stager.log.read_text()
    assert rig.stager.containers() == []


def test_the_shared_builder_is_used_only_by_name_and_shown(make_rig: MakeRig) -> None:
    rig: Rig = make_rig(builds={"unsafe_shared_builder": True}, helper=False, forks="open")
    rig.open()
    rig.stager.wait_for(NAME, "live")
    assert rig.get() == "first"
    rig.commented("built together with trusted code")
    [warning] = rig.environment["warnings"]
    assert "forks.unsafe_shared_builder" in warning
    page = rig.stager.preview_page(rig.environment["id"])
    assert "built together with trusted code" in page

    own = rig.repository.commit(files("own", "x"), "refs/heads/own", "refs/pull/2/head")
    rig.stager.deliver(rig.github.event("opened", rig.github.open("own", own)))
    rig.stager.wait_for("own", "live")
    assert rig.stager.environment("own")["warnings"] == []


def test_off(make_rig: MakeRig) -> None:
    rig: Rig = make_rig(helper=False, forks="off")
    sha = rig.open()
    rig.commented("comes from a fork")
    assert "/stager approve" not in rig.comment()
    assert rig.say(f"/stager approve {sha}", "olga").startswith("refused: No preview")
    assert rig.environment["reason"] == "fork"
    assert rig.stager.containers() == []


def test_no_secret_is_found_anywhere(make_rig: MakeRig) -> None:
    """With `open`, so that no approval is needed; and next to it, a branch of the repository's own that has
    them, or else this would find nothing where nothing is."""
    rig: Rig = make_rig(forks="open")
    rig.open()
    arguments = rig.arguments_until_live(NAME)
    assert rig.get("/length").strip() == "0", "the build had no secret"
    [container] = rig.stager.containers()
    strangers = rig.stager.inspect(container)
    variables = dict(line.split("=", 1) for line in strangers["Config"]["Env"])
    assert variables["MODE"] == "preview"
    assert not variables.keys() & {"API_KEY", "DATABASE"}

    own = rig.repository.commit(files("own", "x"), "refs/heads/own", "refs/pull/2/head")
    number = rig.github.open("own", own)
    rig.stager.deliver(rig.github.event("opened", number))
    arguments += rig.arguments_until_live("own")
    assert rig.stager.get("own", "/length").text.strip() == str(len(SECRETS["build secrets"]))
    [trusted] = set(rig.stager.containers()) - {container}
    environment = " ".join(rig.stager.inspect(trusted)["Config"]["Env"])
    assert SECRETS["secrets"] in environment
    assert SECRETS["env by reference"] in environment

    images = {strangers["Image"], rig.stager.inspect(trusted)["Image"]}
    comments = [*rig.github.comments(rig.number), *rig.github.comments(number)]
    places = {
        "the fork's container": str(strangers).encode(),
        "arguments of processes": arguments,
        "layers": subprocess.run(["docker", "save", *images], capture_output=True, check=True).stdout,
        "history": "".join(docker("history", "--no-trunc", image) for image in images).encode(),
        "log": rig.stager.log.read_bytes(),
        "state, with the builds' logs": _below(rig.stager.state),
        "comments": "".join(comments).encode(),
        "API": str(rig.stager.api()).encode(),
    }
    assert all(places.values()), "there is something of each to look at"
    found = [(where, s) for where, text in places.items() for s in SECRETS if SECRETS[s].encode() in text]
    assert found == []


def _below(folder: Path) -> bytes:
    return b"".join(f.read_bytes() for f in folder.rglob("*") if f.is_file())


def _command_lines() -> Iterator[bytes]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_bytes()
        except OSError:
            continue
