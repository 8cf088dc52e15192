"""From the push of a commit to an image that is built of it: real git, real BuildKit, real containers."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.stager import StagerUnderTest, docker, until
from tests.local_forge.workshop import Clone

DOCKERFILE = """\
FROM stager-base/static:1
COPY site /site
EXPOSE 8080
CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]
"""
PAGE = "site/index.html"


class Town:
    """A Stager that builds one application, `shop`, and somebody who pushes to its repository."""

    def __init__(self, stager: StagerUnderTest, clone: Clone) -> None:
        self.stager, self.clone = stager, clone

    def branch(self, name: str, files: dict[str, str] | None = None) -> str:
        """Push a branch with these files besides those that make a page which says its name."""
        self.clone.git("checkout", "--quiet", "-B", name, "main")
        return self.push(name, {"Dockerfile": DOCKERFILE, PAGE: name} | (files or {}))

    def push(self, name: str, files: dict[str, str]) -> str:
        for path, content in files.items():
            (self.clone.folder / path).parent.mkdir(exist_ok=True)
            sha = self.clone.commit(path, content)
        self.clone.push("--force", name)
        return sha

    def shows(self, name: str, text: str) -> None:
        """Wait until the preview of this name shows this."""
        until(lambda: self.stager.get(name).text == text, f"{name} shows {text!r}", 120)

    def deployments(self, name: str) -> list[dict[str, Any]]:
        """Newest first."""
        environment = self.stager.environment(name)["id"]
        found: list[dict[str, Any]] = self.stager.api(f"/environments/{environment}/deployments")
        return found

    def built(self) -> int:
        """How often a build was begun."""
        return self.stager.log.read_text().count('"build_started"')


MakeTown = Any


@pytest.fixture
def town(make_stager: MakeStager, tmp_path: Path) -> MakeTown:
    """Makes one, with the keys of the application that are given."""

    def make(**app: Any) -> Town:
        bare = tmp_path / "git" / "shop.git"
        given = {key: value for key, value in {"build": ".", **app}.items() if value is not None}
        stager = make_stager(local_forge=str(bare.parent), images={"shop": given})
        clone = Clone(tmp_path / "clone", bare)
        clone.push("main")
        return Town(stager, clone)

    return make


@contextmanager
def visitors(stager: StagerUnderTest, name: str) -> Iterator[list[str]]:
    """Somebody who asks for the page again and again; what went wrong, as it happens."""
    wrong: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answer = stager.get(name)
            if answer.status_code != 200:
                wrong.append(f"{answer.status_code}: {answer.text[:80]}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield wrong
    finally:
        done.set()
        thread.join()


def test_a_branch_is_built_refreshed_and_removed(town: MakeTown) -> None:
    place: Town = town()
    place.branch("feature")
    place.shows("feature", "feature")
    [first] = place.deployments("feature")
    assert first["image"].startswith("sha256:")

    with visitors(place.stager, "feature") as wrong:
        sha = place.push("feature", {PAGE: "better"})
        place.shows("feature", "better")
    assert wrong == [], "a push drops no request"
    assert place.stager.environment("feature")["sha"] == sha

    place.clone.push("--delete", "feature")
    until(lambda: not place.stager.containers() and not place.stager.networks(), "nothing runs", 90)


def test_a_broken_build_takes_nothing_down_and_says_where(town: MakeTown) -> None:
    place: Town = town()
    place.branch("feature")
    place.shows("feature", "feature")
    broken = DOCKERFILE + "RUN echo one && echo two >&2 && exit 7\n"
    place.push("feature", {"Dockerfile": broken})

    found = place.stager.wait_for("feature", "failed-update")
    assert found["reason"] == "build-failed"
    assert "exit 7" in found["message"]
    assert place.stager.get("feature").text == "feature"

    place.branch("other", {"Dockerfile": broken})
    place.stager.wait_for("other", "failed")
    until(lambda: place.stager.get("other").status_code == 502, "its page says so")
    page = place.stager.get("other")
    assert "two" in page.text, "the last lines of the build are shown"


def test_the_repository_s_own_file(town: MakeTown) -> None:
    place: Town = town()
    hooks = "hooks:\n  after_launch: sh -c 'echo seeded > /site/seed'\nenv: {GREETING: hello}\n"
    serve = 'CMD ["sh", "-c", "echo $GREETING > /site/greeting; exec httpd -f -p 8080 -h /site"]\n'
    place.branch("feature", {".stager.yml": hooks, "Dockerfile": DOCKERFILE + serve})
    place.shows("feature", "feature")
    assert place.stager.get("feature", "/seed").text == "seeded\n"
    assert place.stager.get("feature", "/greeting").text == "hello\n"

    place.push("feature", {".stager.yml": "port: 8080\nhooks:\n  after_lunch: x\n"})
    found = place.stager.wait_for("feature", "failed-update")
    assert "line 3" in found["message"]
    assert "after_launch" in found["message"], "what was meant"


def test_a_hook_that_fails_keeps_visitors_away(town: MakeTown) -> None:
    place: Town = town(hooks={"after_launch": ["sh -c 'echo no such table; exit 3'"]})
    place.branch("feature")
    found = place.stager.wait_for("feature", "failed")
    assert found["reason"] == "hook-failed"
    until(lambda: "no such table" in place.stager.get("feature").text, "the page says why")


def test_the_image_s_own_check_counts(town: MakeTown) -> None:
    place: Town = town()
    check = "HEALTHCHECK --interval=5m CMD test -e /tmp/warm\n"
    warm = 'CMD ["sh", "-c", "httpd -p 8080 -h /site; sleep 3; touch /tmp/warm; sleep 1000"]\n'
    place.branch("feature", {"Dockerfile": DOCKERFILE + check + warm})
    place.shows("feature", "feature")
    [container] = place.stager.containers()
    docker("exec", container, "test", "-e", "/tmp/warm")


def test_a_check_that_the_image_can_t_run_doesnt_count(town: MakeTown) -> None:
    place: Town = town()
    check = "HEALTHCHECK --interval=5s --retries=2 CMD curl -fsS http://localhost:8080/ || exit 1\n"
    place.branch("feature", {"Dockerfile": DOCKERFILE + check})
    place.shows("feature", "feature")
    assert "curl: not found" in place.stager.environment("feature")["hint"]


UNREADY = {
    "loopback-only": "httpd -f -p 127.0.0.1:8080 -h /site",
    "wrong-port": "httpd -f -p 9000 -h /site",
    "not-listening": "sleep 1000",
    "slow-answer": "nc -ll -p 8080 -e sleep 1000",
}


@pytest.mark.parametrize("reason", UNREADY)
def test_why_an_application_isnt_ready_is_found_out(town: MakeTown, reason: str) -> None:
    place: Town = town(start_timeout=5, probe_timeout=1)
    place.branch("feature", {"Dockerfile": f"{DOCKERFILE}CMD {UNREADY[reason]}\n"})
    assert place.stager.wait_for("feature", "failed")["reason"] == reason


def test_a_commit_is_built_once_for_all_who_want_it(town: MakeTown) -> None:
    place: Town = town()
    place.branch("one")
    place.clone.git("branch", "two", "one")
    place.clone.push("two")
    place.shows("one", "one")
    place.shows("two", "one")
    assert place.built() == 1
    environment = place.stager.environment("one")["id"]
    place.stager.api(f"/environments/{environment}/redeploy", "POST")
    until(lambda: len(place.deployments("one")) == 2 and place.deployments("one")[0]["live_at"], "afresh")
    assert place.built() == 1


def test_a_push_ends_the_build_that_it_makes_pointless(town: MakeTown) -> None:
    place: Town = town()
    place.branch("feature", {"Dockerfile": DOCKERFILE + "RUN sleep 1234\n"})
    until(lambda: _running("sleep 1234"), "the slow build is under way")
    place.push("feature", {"Dockerfile": DOCKERFILE, PAGE: "quick"})
    place.shows("feature", "quick")
    until(lambda: not _running("sleep 1234"), "the slow build has ended")


def test_a_build_survives_the_end_of_stager(town: MakeTown) -> None:
    place: Town = town()
    place.branch("feature", {"Dockerfile": DOCKERFILE + "RUN sleep 3\n"})
    until(place.built, "the build has begun")
    place.stager.restart()
    place.shows("feature", "feature")


def test_an_image_that_somebody_else_builds_is_waited_for(town: MakeTown) -> None:
    place: Town = town(
        build=None, image="stager-test/ci:{sha}", port=8080, command="httpd -f -p 8080 -h /etc"
    )
    sha = place.branch("feature")
    waiting = until(
        lambda: [e for e in place.stager.api() if e["reason"] == "image-awaited"],
        "it waits for the image",
        90,
    )
    assert sha in waiting[0]["message"]
    docker("tag", "stager-base/static:1", f"stager-test/ci:{sha}")
    try:
        place.stager.wait_for("feature", "live")
    finally:
        docker("rmi", f"stager-test/ci:{sha}")


def test_a_launch_by_hand_names_a_branch(town: MakeTown) -> None:
    place: Town = town()
    place.clone.git("checkout", "--quiet", "main")
    place.push("main", {"Dockerfile": DOCKERFILE, PAGE: "of main"})
    assert place.stager.launched("main").endswith(place.stager.host("main"))
    assert place.stager.get("main").text == "of main"


SECRETS = {"for_the_build": "S3cret-of-the-build-9f1", "for_the_app": "S3cret-of-the-app-77c"}


def test_secrets_are_found_nowhere(town: MakeTown) -> None:
    """In no layer, log, argument of a process, or file of Stager's but the configuration."""
    place: Town = town(
        build={"secrets": {"token": SECRETS["for_the_build"]}}, secrets={"TOKEN": SECRETS["for_the_app"]}
    )
    use = "RUN --mount=type=secret,id=token cat /run/secrets/token | wc -c > /site/length && sleep 2\n"
    place.branch("feature", {"Dockerfile": DOCKERFILE.replace("EXPOSE", use + "EXPOSE")})
    until(place.built, "the build has begun")
    seen = b""
    while place.stager.environment("feature")["state"] != "live":
        seen += b"".join(_command_lines())
    place.shows("feature", "feature")
    assert place.stager.get("feature", "/length").text.strip() == str(len(SECRETS["for_the_build"]))

    [deployment] = place.deployments("feature")
    image = deployment["image"]
    places = {
        "arguments": seen,
        "layers": subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout,
        "history": docker("history", "--no-trunc", image).encode(),
        "log": place.stager.log.read_bytes(),
        "workspace": b"".join(f.read_bytes() for f in place.stager.state.rglob("*") if f.is_file()),
    }
    found = [
        (name, which) for name, text in places.items() for which, s in SECRETS.items() if s.encode() in text
    ]
    assert found == []
    [container] = place.stager.containers()
    assert f"TOKEN={SECRETS['for_the_app']}" in place.stager.inspect(container)["Config"]["Env"]


def _command_lines() -> Iterator[bytes]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_bytes()
        except OSError:
            continue


def _running(command: str) -> bool:
    words = command.encode().replace(b" ", b"\0")
    return any(words in line for line in _command_lines())


def test_a_branch_without_a_dockerfile(town: MakeTown) -> None:
    """`build: auto` in the repository's own file; the configuration has the base image."""
    place: Town = town(build={"args": {"STATIC_BASE": "stager-base/static:1"}})
    place.clone.git("checkout", "--quiet", "-B", "plain", "main")
    place.push("plain", {".stager.yml": "build: auto\n", "public/index.html": "no Dockerfile"})
    place.shows("plain", "no Dockerfile")
    log = place.stager.text(f"/environments/{place.stager.environment('plain')['id']}/build-log")
    assert "public/index.html is the page." in log
    assert "COPY public /site" in log, "the generated Dockerfile is shown"
