"""`stager up` alone, in repositories of the shapes that people have (tests/projects)."""

from __future__ import annotations

import concurrent.futures
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from stager.cli.up.session import state_of
from tests.integration.serving import Starting
from tests.integration.stager import docker, until

PROJECTS = Path(__file__).parent.parent / "projects"
AT_ONCE = 4
PATIENCE = 150.0

PAGES = {
    "app-json": "app.json, dark, key of 64",
    "beside-context": "beside the context",
    "django-compose": "django, sqlite:///shop.db",
    "express-secret": "express, secret of 64",
    "fastapi-src": "fastapi",
    "flask-procfile": "flask, greeting hello, secret of 64",
    "go-port": "go page",
    "mkdocs-site": "The site generator's page",
    "monorepo": "the web application",
    "next-build-variable": "built for https://api.example.org",
    "own-context": "own context",
    "php-docker": "php page",
    "static-site": "plain page",
    "submodule": "page of the submodule",
}
"""What a visitor of each gets."""

SENTENCES = {
    "notes-only": "Add a Dockerfile, or give the folder that has one.",
    "worker-only": "Add --app-port with the port, such as --app-port 8000, or an EXPOSE line.",
}
"""What is said where more is needed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a project: its page and what was said."""

    page: str
    said: str


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, Seen]]:
    if not os.environ.get("DOCKER_HOST") and shutil.which("docker") is None:
        pytest.skip("no Docker engine")
    with tempfile.TemporaryDirectory(prefix="up-") as folder:
        root = Path(folder)
        for name in {*PAGES, *SENTENCES} - {"submodule"}:
            shutil.copytree(PROJECTS / name, root / name)
        make_submodule(root / "submodule")
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            names = [*PAGES, *SENTENCES]
            found = pool.map(lambda name: bring_up(root / name, root / "s"), names)
            yield dict(zip(names, found, strict=True))


def bring_up(folder: Path, states: Path) -> Seen:
    """Run `stager up` until its preview is live or the command ends, and interrupt it."""
    state = states / "stager" / "up" / state_of(folder).name
    state.mkdir(mode=0o700, parents=True)
    (state / "instance_id").write_text(f"test-{secrets.token_hex(4)}")
    log = states / f"{folder.name}.log"
    process = Starting(["up", str(folder), "--port", "0"], folder, log, {"XDG_STATE_HOME": str(states)})
    try:
        page = until(
            lambda: page_of(log.read_text()) or ("" if process.runs else "ended"), folder.name, PATIENCE
        )
    except AssertionError:
        page = ""
    if process.runs:
        os.kill(process.pid, signal.SIGINT)
    process.wait(60)
    return Seen(page, log.read_text())


def page_of(said: str) -> str:
    """The page, once the preview is live."""
    found = re.findall(r"^live: .*\n(?:.*\n)*?http://(\S+?):(\d+)", said, re.MULTILINE)
    if not found:
        return ""
    host, port = found[-1]
    return httpx.get(f"http://127.0.0.1:{port}", headers={"Host": f"{host}:{port}"}, trust_env=False).text


def make_submodule(folder: Path) -> None:
    """A repository whose Dockerfile needs a file of a submodule."""

    def git(*arguments: str, cwd: Path) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
        subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)

    theme = folder.parent / "theme"
    for path in (theme, folder):
        path.mkdir()
        git("init", "--quiet", cwd=path)
    (theme / "index.html").write_text("page of the submodule")
    git("add", ".", cwd=theme)
    git("commit", "--quiet", "-m", "Theme", cwd=theme)
    (folder / "Dockerfile").write_text(
        "FROM stager-base/static:1\nCOPY theme /www\nEXPOSE 80\nCMD busybox httpd -f -p 80 -h /www\n"
    )
    git("submodule", "--quiet", "add", str(theme), "theme", cwd=folder)
    git("commit", "--quiet", "-a", "-m", "Site", cwd=folder)


@pytest.mark.parametrize("name", PAGES)
def test_it_comes_up_by_the_command_alone(name: str, results: dict[str, Seen]) -> None:
    print(results[name].said)
    assert PAGES[name] in results[name].page


@pytest.mark.parametrize("name", SENTENCES)
def test_it_says_what_to_add(name: str, results: dict[str, Seen]) -> None:
    assert SENTENCES[name] in results[name].said
    assert results[name].page == "ended"


def test_nothing_is_left(results: dict[str, Seen]) -> None:
    assert results
    assert docker("ps", "--all", "--quiet", "--filter", "label=stager.app=flask-procfile") == ""
