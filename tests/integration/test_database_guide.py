"""The guide to an application with a database, executed as written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import MakeStager
from tests.integration.images import ServiceKind, base_image, service_image
from tests.integration.stager import StagerUnderTest, docker, until
from tests.unit.docs.written import page_sample, typed

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "application-with-a-database.md"
EXAMPLE = ROOT / "examples" / "guestbook-flask"
PATIENCE = 300

pytestmark = pytest.mark.docker


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, list[str]]]:
    """The commands of the page, each with the lines below it."""
    samples = (
        page_sample("application-with-a-database.md", "$ git init"),
        page_sample("application-with-a-database.md", "$ curl"),
        page_sample("application-with-a-database.md", '$ echo "ALTER TABLE entries'),
        page_sample("application-with-a-database.md", '$ echo "ALTER TABLE nothing'),
        page_sample("application-with-a-database.md", "$ git push stager --delete"),
    )
    return [command for sample in samples for command in typed(sample)]


def test_the_page_shows_the_file_of_the_example() -> None:
    shown = yaml.safe_load(blocks("yaml")[0])
    assert shown == yaml.safe_load((EXAMPLE / ".stager.yml").read_text())


def copied(example: str, folder: Path, *services: ServiceKind) -> Path:
    """A copy of an example, with the images that the distribution's packages give."""
    shutil.copytree(ROOT / "examples" / example, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / ".stager.yml").read_text()
    for kind in services:
        text = re.sub(rf"\b{kind}:[\d.]+", service_image(kind).removeprefix("maildev/"), text)
    (folder / ".stager.yml").write_text(text)
    return folder


def run(command: str, clone: Path, stager: StagerUnderTest) -> str:
    """What a command of the page prints; previews are at this Stager's port."""
    identity = {
        f"GIT_{who}_{what}": "a@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environ = os.environ | identity | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = command.replace(":8000", f":{stager.port}")
    ran = subprocess.run(
        ["bash", "-ec", command], cwd=clone, env=environ, capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, f"{command}\n{said}"
    return said.replace(f":{stager.port}", ":8000")


def pattern(line: str) -> str:
    """A line of the page; durations differ."""
    return re.sub(r"\d+ s,", r"[\\d.]+ s,", re.escape(line).replace(r"\ ", " "))


def test_as_written(make_stager: MakeStager, tmp_path: Path) -> None:
    base_image("python-build")
    clone = copied("guestbook-flask", tmp_path / "guestbook", "postgres", "redis", "maildev")
    configuration = yaml.safe_load(blocks("yaml")[1])
    assert page_sample("application-with-a-database.md", "stager serve") == "stager serve\n"
    stager = make_stager(**{**configuration, "local_forge": str(tmp_path / "repositories")})
    for command, lines in commands():
        said = run(command, clone, stager)
        for line in lines:
            assert re.search(pattern(line), said), f"{command}\n{line}\n{said}"
    until(lambda: stager.get("first-words").status_code == 410, "its page says that it was removed", 90)
    until(lambda: not stager.containers() and not stager.networks(), "nothing is left", 90)
    label = f"--filter=label=stager.installation={stager.installation}"
    until(lambda: not docker("volume", "ls", "--quiet", label), "no volume is left", 90)


def test_node_with_mariadb(make_stager: MakeStager, tmp_path: Path) -> None:
    base_image("node")
    clone = copied("tasks-node", tmp_path / "tasks", "mariadb")
    stager = make_stager(images={"tasks": {"build": ".", "memory": "1g"}}, local_forge=str(tmp_path / "git"))
    run("git init -qb main && git add . && git commit -qm Tasks", clone, stager)
    run("git remote add stager ../git/tasks.git && git push stager main", clone, stager)
    run("git checkout -qb chores && git commit -q --allow-empty -m Chores", clone, stager)
    run("git push -o wait stager chores", clone, stager)
    run("curl -sS --data title=Sweep http://chores.localhost:8000/", clone, stager)
    run("sed -i s/Tasks/Chores/g server.js && git commit -qam Heading", clone, stager)
    run("git push -o wait stager chores", clone, stager)
    page = stager.get("chores").text
    assert "<h1>Chores</h1>" in page
    assert "<li>Sweep</li>" in page, "the data is kept over the push"
