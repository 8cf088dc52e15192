"""`stager up` alone, in repositories of the shapes that people have (tests/projects)."""

from __future__ import annotations

import concurrent.futures
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from stager.cli.up.session import state_of
from tests.integration.serving import Starting
from tests.integration.stager import until
from tests.unit.docs.written import page_sample, typed

PROJECTS = Path(__file__).parent.parent / "projects"
AT_ONCE = 4
PATIENCE = 150.0

PAGES = {
    "app-json": "app.json, dark, key of 64",
    "beside-context": "beside the context",
    "django-compose": "django, postgres://shop:shop@db:5432/shop",
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
    "no-command": "The Dockerfile has no CMD, so the base image's command ran: ",
    "notes-only": "Add a Dockerfile, or give the folder that has one.",
    "own-base": "`stager up --build-arg STATIC_BASE=IMAGE`",
    "worker-only": "Add --app-port with the port, such as --app-port 8000, or an EXPOSE line.",
}
"""What is said where more is needed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of a run: its page and its output."""

    page: str
    said: str


@dataclass(frozen=True, slots=True)
class Documented:
    """A command of the how-to, with the lines that it shows below."""

    folder: str
    options: tuple[str, ...]
    lines: tuple[str, ...]


def documented() -> list[Documented]:
    """The commands of the how-to, as written."""
    blocks = (
        page_sample("preview-a-folder.md", "$ cd shop"),
        page_sample("preview-a-folder.md", "$ stager up monorepo"),
        page_sample("preview-a-folder.md", "$ stager up worker-only"),
        page_sample("preview-a-folder.md", "$ stager up own-base"),
        page_sample("preview-a-folder.md", "$ stager up shop --env"),
    )
    found = []
    for block in blocks:
        folder = ""
        for command, below in typed(block):
            match shlex.split(command):
                case ["cd", folder]:
                    pass
                case ["stager", "up", *words]:
                    options = words if folder else words[1:]
                    found.append(Documented(folder or words[0], tuple(options), tuple(below)))
    return found


Results = Mapping[tuple[str, ...], Seen]

HOW_TO_COMMANDS = documented()
TWICE = [each for each in HOW_TO_COMMANDS if each.options or each.folder not in {*PAGES, *SENTENCES}]
"""Those that aren't run for another test."""


@pytest.fixture(scope="module")
def results() -> Iterator[dict[tuple[str, ...], Seen]]:
    inspect = ["docker", "image", "inspect", "stager-base/static:1"]
    if subprocess.run(inspect, capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine with the base images: scripts/test starts one and makes them")
    runs = [(name,) for name in (*PAGES, *SENTENCES)] + [(each.folder, *each.options) for each in TWICE]
    with tempfile.TemporaryDirectory(prefix="up-") as folder:
        root = Path(folder)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(lambda run: bring_up(root / str(run[0]), run[1][0], run[1][1:]), enumerate(runs))
            yield dict(zip(runs, found, strict=True))


def bring_up(root: Path, name: str, options: Sequence[str] = ()) -> Seen:
    """Run `stager up` in a copy of a project until its preview is live or has failed, or the command ends;
    then interrupt it."""
    with running(root, name, options) as (up, log):
        page = until(lambda: page_of(log.read_text()) or ("" if up.runs else "ended"), name, PATIENCE)
    return Seen(page, log.read_text())


@contextmanager
def running(root: Path, name: str, options: Sequence[str] = ()) -> Iterator[tuple[Starting, Path]]:
    """A running `stager up`, and the file with what it says."""
    root.mkdir()
    folder = root / name
    if name == "submodule":
        make_submodule(folder)
    else:
        shutil.copytree(PROJECTS / name, folder)
    if name == "shop":
        (folder / "staging.env").write_text("GREETING=Staging\nTOKEN=from a file\n")
    state = root / "stager" / "up" / state_of(folder).name
    state.mkdir(mode=0o700, parents=True)
    (state / "instance_id").write_text(f"test-{secrets.token_hex(4)}")
    log = root / "up.log"
    arguments = ["up", str(folder), *options, "--port", "0"]
    up = Starting(arguments, folder, log, {"XDG_STATE_HOME": str(root), "PATH": path_with_browser(root)})
    try:
        yield up, log
    finally:
        if up.runs:
            os.kill(up.pid, signal.SIGINT)
        up.wait(60)
        print(log.read_text())


def path_with_browser(root: Path) -> str:
    """A search path on which the desktop's opener writes the URL to the file `opened`."""
    opener = root / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\necho "$1" > {root}/opened\n')
    opener.chmod(0o755)
    return f"{opener.parent}{os.pathsep}{os.environ['PATH']}"


def page_of(said: str) -> str:
    """The page, once the preview is live; `failed` if it can't be."""
    if re.search(r"^failed: ", said, re.MULTILINE):
        return "failed"
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
def test_it_comes_up_by_the_command_alone(name: str, results: Results) -> None:
    print(results[(name,)].said)
    assert PAGES[name] in results[(name,)].page


@pytest.mark.parametrize("name", SENTENCES)
def test_it_says_what_to_add(name: str, results: Results) -> None:
    assert SENTENCES[name] in results[(name,)].said
    assert results[(name,)].page in ("ended", "failed")


@pytest.mark.parametrize("command", HOW_TO_COMMANDS, ids=lambda each: " ".join((each.folder, *each.options)))
def test_the_how_to_shows_what_happens(command: Documented, results: Results) -> None:
    seen = results[(command.folder, *command.options)]
    said = iter([comparable(line) for line in seen.said.splitlines()])
    missing = [line for line in command.lines if comparable(line) not in said]  # consumes: in their order
    assert missing == [], seen.said


def comparable(line: str) -> str:
    """A line without what differs from run to run: the number of a step, and the port."""
    return re.sub(r"^( *#)\d+ ", r"\1 ", re.sub(r":\d{4,5}$", "", line))


def test_an_option_replaces_the_base_image(results: Results) -> None:
    options = next(each.options for each in HOW_TO_COMMANDS if "--build-arg" in each.options)
    assert "own base image" in results[("own-base", *options)].page


def test_options_set_variables(results: Results) -> None:
    options = next(each.options for each in HOW_TO_COMMANDS if "--env-file" in each.options)
    assert results[("shop", *options)].page == "Hello, secret of 64"


@pytest.mark.attack(
    "A step of the build prints a variable that was passed to `stager up`",
    profile="repository's own code",
    result="the log shows `***`, and no file of Stager's has the value",
)
def test_variables_reach_build_and_run_and_no_file() -> None:
    """A value that the repository doesn't have: neither in the state folder, nor in the output."""
    values = {"API_TOKEN": "kx7-argument", "NPM_TOKEN": "kx7-mounted", "RUN_TOKEN": "kx7-running"}
    with tempfile.TemporaryDirectory(prefix="up-") as root:
        env = Path(root) / "my.env"
        env.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        options = ["--env-file", str(env), "--name", "Secret Things", "--open"]
        with running(Path(root) / "r", "build-secrets", options) as (_, log):
            page = until(lambda: page_of(log.read_text()), "live", PATIENCE)
            files = [path for path in (Path(root) / "r" / "stager").rglob("*") if path.is_file()]
            leaks = [path for path in files if b"kx7-" in path.read_bytes()]
        assert page == "kx7-argument kx7-mounted kx7-running"
        said = log.read_text()
        assert len(files) > 5
        assert leaks == []
        assert "kx7-" not in said
        assert "the token is ***" in said
        assert "http://secret-things.localhost:" in said
        assert f"{(Path(root) / 'r' / 'opened').read_text()}" in said.partition("live: ")[2]
