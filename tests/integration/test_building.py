"""From the push of a commit to an image that is built of it: real git, real BuildKit, real containers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.building import DOCKERFILE, PAGE, MakeRig, Rig, make_rig
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, docker, until

__all__ = ["make_rig"]


@contextmanager
def visitors(stager: StagerUnderTest, name: str) -> Iterator[list[str]]:
    """Requests the page repeatedly; the failures, as they happen."""
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


def test_a_branch_is_built_refreshed_and_removed(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    rig.branch("feature")
    rig.shows("feature", "feature")
    [first] = rig.deployments("feature")
    assert first["image"].startswith("sha256:")

    with visitors(rig.stager, "feature") as wrong:
        sha = rig.push("feature", {PAGE: "better"})
        rig.shows("feature", "better")
    assert wrong == [], "a push drops no request"
    assert rig.stager.environment("feature")["sha"] == sha

    rig.clone.push("--delete", "feature")
    until(lambda: not rig.stager.containers() and not rig.stager.networks(), "nothing runs", 90)


def test_a_push_shows_the_build_and_how_it_ends(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    rig.clone.branch("feature")
    rig.clone.commit("Dockerfile", DOCKERFILE + "RUN echo on the way\n")
    (rig.clone.folder / PAGE).parent.mkdir()
    rig.clone.commit(PAGE, "hello")
    first, *log, last = rig.clone.push("-o", "wait", "feature")
    url = f"http://{rig.stager.host('feature')}"
    assert first == f"opened change 1, {url}"
    assert any("on the way" in line for line in log)
    assert re.fullmatch(rf"live after \d+ s, {re.escape(url)}", last)
    assert rig.stager.get("feature").text == "hello", "it was live when the push ended"

    rig.clone.commit("Dockerfile", DOCKERFILE + "RUN echo it breaks && exit 7\n")
    _, *log, last = rig.clone.push("-o", "wait", "feature")
    assert any("it breaks" in line for line in log)
    assert last.startswith("Building failed at step")

    environment = rig.stager.environment("feature")["id"]  # with a request that makes the domain known
    rig.clone.commit("Dockerfile", DOCKERFILE)
    updated, hint = rig.clone.push("feature")
    assert updated == f"updated change 1, {url}"
    page = f"http://localhost:{rig.stager.port}/previews/{environment}"
    assert hint == f"its build: {page}, or here with: git push -o wait"


def test_an_interrupted_push_stops_only_the_waiting(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    rig.clone.branch("feature")
    rig.clone.commit("Dockerfile", DOCKERFILE + "RUN echo begun && sleep 6\n")
    (rig.clone.folder / PAGE).parent.mkdir()
    rig.clone.commit(PAGE, "hello")
    pushing = subprocess.Popen(
        ["git", "push", "-o", "wait", "stager", "feature"],
        cwd=rig.clone.folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert pushing.stderr is not None
    assert any("begun" in line for line in pushing.stderr)
    os.killpg(pushing.pid, signal.SIGTERM)  # as Ctrl-C; background jobs may ignore SIGINT
    assert pushing.wait(30) != 0
    pushing.stderr.close()
    rig.shows("feature", "hello")


def test_a_push_over_http_shows_the_build(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    url = f"http://{USER}:{PASSWORD.replace(':', '%3A')}@127.0.0.1:{rig.stager.port}/git/shop.git"
    rig.clone.git("remote", "set-url", "stager", url)
    rig.clone.branch("feature")
    rig.clone.commit("Dockerfile", DOCKERFILE + "RUN echo on the way\n")
    (rig.clone.folder / PAGE).parent.mkdir()
    rig.clone.commit(PAGE, "hello")
    _, *log, last = rig.clone.push("-o", "wait", "feature")
    assert any("on the way" in line for line in log)
    assert last.startswith("live after ")


def test_a_broken_build_takes_nothing_down_and_says_where(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    rig.branch("feature")
    rig.shows("feature", "feature")
    broken = DOCKERFILE + "RUN echo one && echo two >&2 && exit 7\n"
    rig.push("feature", {"Dockerfile": broken})

    found = rig.stager.wait_for("feature", "failed-update")
    assert found["reason"] == "build-failed"
    assert "exit 7" in found["message"]
    assert rig.stager.get("feature").text == "feature"

    rig.branch("other", {"Dockerfile": broken})
    rig.stager.wait_for("other", "failed")
    until(lambda: rig.stager.get("other").status_code == 502, "its page says so")
    page = rig.stager.get("other")
    assert "two" in page.text, "the last lines of the build are shown"


def test_the_repository_s_own_file(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    hooks = "hooks:\n  after_launch: sh -c 'echo seeded > /site/seed'\nenv: {GREETING: hello}\n"
    serve = 'CMD ["sh", "-c", "echo $GREETING > /site/greeting; exec httpd -f -p 8080 -h /site"]\n'
    rig.branch("feature", {".stager.yml": hooks, "Dockerfile": DOCKERFILE + serve})
    rig.shows("feature", "feature")
    assert rig.stager.get("feature", "/seed").text == "seeded\n"
    assert rig.stager.get("feature", "/greeting").text == "hello\n"

    rig.push("feature", {".stager.yml": "port: 8080\nhooks:\n  after_lunch: x\n"})
    found = rig.stager.wait_for("feature", "failed-update")
    assert "line 3" in found["message"]
    assert "after_launch" in found["message"], "what was meant"


def test_a_hook_that_fails_keeps_visitors_away(make_rig: MakeRig) -> None:
    rig: Rig = make_rig(hooks={"after_launch": ["sh -c 'echo no such table; exit 3'"]})
    rig.branch("feature")
    found = rig.stager.wait_for("feature", "failed")
    assert found["reason"] == "hook-failed"
    until(lambda: "no such table" in rig.stager.get("feature").text, "the page says why")


def test_the_image_s_own_check_counts(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    check = "HEALTHCHECK --interval=5m CMD test -e /tmp/warm\n"
    warm = 'CMD ["sh", "-c", "httpd -p 8080 -h /site; sleep 3; touch /tmp/warm; sleep 1000"]\n'
    rig.branch("feature", {"Dockerfile": DOCKERFILE + check + warm})
    rig.shows("feature", "feature")
    [container] = rig.stager.containers()
    docker("exec", container, "test", "-e", "/tmp/warm")


def test_a_check_that_the_image_can_t_run_doesnt_count(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    check = "HEALTHCHECK --interval=5s --retries=2 CMD curl -fsS http://localhost:8080/ || exit 1\n"
    rig.branch("feature", {"Dockerfile": DOCKERFILE + check})
    rig.shows("feature", "feature")
    assert "curl: not found" in rig.stager.environment("feature")["hint"]


UNREADY = {
    "loopback-only": "httpd -f -p 127.0.0.1:8080 -h /site",
    "wrong-port": "httpd -f -p 9000 -h /site",
    "not-listening": "sleep 1000",
    "slow-answer": "nc -ll -p 8080 -e sleep 1000",
}


@pytest.mark.parametrize("reason", UNREADY)
def test_why_an_application_isnt_ready_is_found_out(make_rig: MakeRig, reason: str) -> None:
    rig: Rig = make_rig(start_timeout=5, probe_timeout=1)
    rig.branch("feature", {"Dockerfile": f"{DOCKERFILE}CMD {UNREADY[reason]}\n"})
    assert rig.stager.wait_for("feature", "failed")["reason"] == reason


def test_a_commit_is_built_once_for_all_previews(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    rig.branch("one")
    rig.clone.git("branch", "two", "one")
    rig.clone.push("two")
    rig.shows("one", "one")
    rig.shows("two", "one")
    assert rig.built() == 1
    environment = rig.stager.environment("one")["id"]
    rig.stager.api(f"/environments/{environment}/redeploy", "POST")
    until(lambda: len(rig.deployments("one")) == 2 and rig.deployments("one")[0]["live_at"], "afresh")
    assert rig.built() == 1


def test_a_push_ends_the_build_that_it_makes_pointless(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    rig.branch("feature", {"Dockerfile": DOCKERFILE + "RUN sleep 1234\n"})
    until(lambda: _running("sleep 1234"), "the slow build is under way")
    rig.push("feature", {"Dockerfile": DOCKERFILE, PAGE: "quick"})
    rig.shows("feature", "quick")
    until(lambda: not _running("sleep 1234"), "the slow build has ended")


def test_a_build_survives_the_end_of_stager(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    rig.branch("feature", {"Dockerfile": DOCKERFILE + "RUN sleep 3\n"})
    until(rig.built, "the build has begun")
    rig.stager.restart()
    rig.shows("feature", "feature")


def test_an_image_that_is_built_elsewhere_is_waited_for(make_rig: MakeRig) -> None:
    rig: Rig = make_rig(
        build=None, image="stager-test/ci:{sha}", port=8080, command="httpd -f -p 8080 -h /etc"
    )
    sha = rig.branch("feature")
    waiting = until(
        lambda: [e for e in rig.stager.api() if e["reason"] == "image-awaited"],
        "it waits for the image",
        90,
    )
    assert sha in waiting[0]["message"]
    docker("tag", "stager-base/static:1", f"stager-test/ci:{sha}")
    try:
        rig.stager.wait_for("feature", "live")
    finally:
        docker("rmi", f"stager-test/ci:{sha}")


def test_a_manual_launch_names_a_branch(make_rig: MakeRig) -> None:
    rig: Rig = make_rig()
    rig.clone.git("checkout", "--quiet", "main")
    rig.push("main", {"Dockerfile": DOCKERFILE, PAGE: "of main"})
    assert rig.stager.launched("main").endswith(rig.stager.host("main"))
    assert rig.stager.get("main").text == "of main"


SECRETS = {"for_the_build": "S3cret-of-the-build-9f1", "for_the_app": "S3cret-of-the-app-77c"}


def test_secrets_are_found_nowhere(make_rig: MakeRig) -> None:
    """In no layer, log, argument of a process, or file of Stager's but the configuration."""
    rig: Rig = make_rig(
        build={"secrets": {"token": SECRETS["for_the_build"]}}, secrets={"TOKEN": SECRETS["for_the_app"]}
    )
    use = "RUN --mount=type=secret,id=token cat /run/secrets/token | wc -c > /site/length && sleep 2\n"
    rig.branch("feature", {"Dockerfile": DOCKERFILE.replace("EXPOSE", use + "EXPOSE")})
    until(rig.built, "the build has begun")
    seen = b""
    while rig.stager.environment("feature")["state"] != "live":
        seen += b"".join(_command_lines())
    rig.shows("feature", "feature")
    assert rig.stager.get("feature", "/length").text.strip() == str(len(SECRETS["for_the_build"]))

    [deployment] = rig.deployments("feature")
    image = deployment["image"]
    places = {
        "arguments": seen,
        "layers": subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout,
        "history": docker("history", "--no-trunc", image).encode(),
        "log": rig.stager.log.read_bytes(),
        "workspace": b"".join(f.read_bytes() for f in rig.stager.state.rglob("*") if f.is_file()),
    }
    found = [
        (name, which) for name, text in places.items() for which, s in SECRETS.items() if s.encode() in text
    ]
    assert found == []
    [container] = rig.stager.containers()
    assert f"TOKEN={SECRETS['for_the_app']}" in rig.stager.inspect(container)["Config"]["Env"]


def _command_lines() -> Iterator[bytes]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_bytes()
        except OSError:
            continue


def _running(command: str) -> bool:
    words = command.encode().replace(b" ", b"\0")
    return any(words in line for line in _command_lines())


def test_a_branch_without_a_dockerfile(make_rig: MakeRig) -> None:
    """`build: auto` in the repository's own file; the configuration has the base image."""
    rig: Rig = make_rig(build={"args": {"STATIC_BASE": "stager-base/static:1"}})
    rig.clone.git("checkout", "--quiet", "-B", "plain", "main")
    rig.push("plain", {".stager.yml": "build: auto\n", "public/index.html": "no Dockerfile"})
    rig.shows("plain", "no Dockerfile")
    log = rig.stager.text(f"/environments/{rig.stager.environment('plain')['id']}/build-log")
    assert "public/index.html is the page." in log
    assert "COPY public /site" in log, "the generated Dockerfile is shown"
