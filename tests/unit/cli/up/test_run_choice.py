"""The port and the command of `stager up`."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.cli.up.base_image import BaseImage, inspect
from stager.cli.up.build_choice import BuildChooser
from stager.cli.up.options import BuildOptions
from stager.cli.up.run_choice import RunChoice, RunChooser
from stager.domain.errors import Refused
from stager.project.last_stage import port_in, read_last_stage
from stager.project.survey import survey
from stager.project.tree import Tree
from stager.settings.repository_file import ParsedFile, read_file
from tests.unit.cli.up.terminal import FakeTerminal

KEYS = frozenset({"port", "command", "health_path", "env", "build", "hooks"})
BASES = {
    "local/exposes": BaseImage(("serve",), has_port=True),
    "local/shell": BaseImage(("sh", "-l"), has_port=False),
}


def run_choice(folder: Path, terminal: FakeTerminal | None = None, port: int | None = None) -> RunChoice:
    terminal = terminal or FakeTerminal()
    content = folder / ".stager.yml"
    file = read_file(content.read_bytes(), content.name, KEYS) if content.exists() else ParsedFile()
    project = survey(folder)
    build = BuildChooser(folder, project, file, terminal).choose(BuildOptions())
    return RunChooser(Tree(folder), project, file, terminal, BASES.get).choose(build, port, {})


@pytest.mark.parametrize(
    ("dockerfile", "files", "port", "why"),
    [
        ("FROM python:3\nEXPOSE 4000\nCMD x --port 1", {}, None, ""),
        ("FROM nginx:1.29\n", {}, None, ""),
        ("FROM php:8.3-apache\nCOPY . .", {}, None, ""),
        ("FROM local/exposes\nCMD x", {}, None, ""),
        ("FROM unknown.example.org/image\nCMD x", {}, None, ""),
        ("FROM python:3\nCMD x", {".stager.yml": "port: 1234"}, None, ""),
        ("FROM python:3\nCMD x", {".stager.yml": "command: x --port 77"}, 77, ".stager.yml"),
        ("FROM python:3\nCMD uvicorn a:b --port 5005", {}, 5005, "Dockerfile"),
        ('FROM python:3\nCMD ["gunicorn", "-b", "0.0.0.0:5006"]', {}, 5006, "Dockerfile"),
        ("FROM python:3\nENV A=b PORT=5007\nCMD x", {}, 5007, "Dockerfile"),
        ("FROM python:3\nENV PORT 5008\nCMD x", {}, 5008, "Dockerfile"),
        ("FROM python:3 AS a\nENV PORT=1\nFROM python:3\nCMD x --port=5009", {}, 5009, "Dockerfile"),
        ("FROM python:3\nCMD x", {".env.example": "PORT=5010"}, 5010, ".env.example"),
        ("FROM python:3\nCMD x -p $PORT", {}, 8080, "its command reads $PORT"),
        ("FROM python:3\nCMD x", {"a.py": "os.environ['PORT']"}, 8080, "its code reads $PORT"),
        ("FROM python:3\nCMD x", {"a.go": 'os.Getenv("PORT")'}, 8080, "its code reads $PORT"),
        ("FROM python:3\nCMD x", {"a.js": "listen(process.env.PORT || 1)"}, 8080, "its code reads $PORT"),
        ("FROM python:3\nCMD x", {"a.rb": 'ENV.fetch("PORT", 1)'}, 8080, "its code reads $PORT"),
        ("FROM python:3\nEXPOSE 53/udp\nCMD x -p 5011", {}, 5011, "Dockerfile"),
    ],
)
def test_port(tmp_path: Path, dockerfile: str, files: dict[str, str], port: int | None, why: str) -> None:
    (tmp_path / "Dockerfile").write_text(dockerfile)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = run_choice(tmp_path)
    assert (found.port, found.port_why) == (port, why)


def test_the_option_comes_first(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3\nEXPOSE 4000\nCMD x")
    assert run_choice(tmp_path, port=99).port == 99


def test_an_unknown_port_is_prompted_for(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3\nCMD x")
    terminal = FakeTerminal("http", "70000", "5012")
    assert run_choice(tmp_path, terminal).port == 5012
    assert terminal.asked == ["On which port does the application listen?"] * 3


def test_without_a_terminal_an_unknown_port_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM local/shell\nCMD x")
    with pytest.raises(Refused, match="--app-port 8000"):
        run_choice(tmp_path)


def test_an_image_without_a_command(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM local/shell\nEXPOSE 1")
    assert run_choice(tmp_path).default_command == "sh -l"
    (tmp_path / "Procfile").write_text("web: bin/serve --fast")
    found = run_choice(tmp_path)
    assert (found.command[-1].splitlines()[-1], found.command_why) == ("exec bin/serve --fast", "Procfile")


def test_a_server_keeps_its_own_command(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM nginx:1.29\n")
    (tmp_path / "Procfile").write_text("web: bin/serve")
    assert run_choice(tmp_path).command == ()


def test_python_finds_modules_in_src(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (tmp_path / "requirements.txt").write_text("fastapi\n")
    (tmp_path / "Dockerfile").write_text("FROM python:3\nCOPY . .\n")
    found = run_choice(tmp_path)
    assert "uvicorn main:app" in found.command[-1]
    assert 'export PYTHONPATH="src' in found.command[-1]


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("FROM a AS b\nFROM b", "a"),
        ("FROM a\nFROM 0", "a"),
        ("ARG X=python:3\nFROM ${X}", "python:3"),
        ("ARG X\nFROM ${X:-python:3}", "python:3"),
        ("FROM --platform=$BUILDPLATFORM golang:1 AS b\nFROM scratch", "scratch"),
        ("ARG X\nFROM $X", ""),
        ("", ""),
    ],
)
def test_the_base_of_the_last_stage(text: str, base: str) -> None:
    assert read_last_stage(text, {}).base == base


def test_a_build_argument_chooses_the_base() -> None:
    assert read_last_stage("ARG X=a\nFROM $X", {"X": "b"}).base == "b"


def test_an_entrypoint_resets_the_command_before_it() -> None:
    """https://docs.docker.com/reference/dockerfile/: an ENTRYPOINT resets the CMD of the base image."""
    assert read_last_stage('FROM a\nCMD old\nENTRYPOINT ["x"]\nCMD ["y", "z"]', {}).command == "x y z"


@pytest.mark.parametrize(
    ("command", "port"),
    [
        ("uvicorn a --port 8000", 8000),
        ("x --port=81", 81),
        ("httpd -f -p 8080", 8080),
        ("gunicorn --bind=0.0.0.0:82", 82),
        ("gunicorn -b :83", 83),
        ("manage.py runserver 0.0.0.0:8001", 8001),
        ("python -m http.server 84", 84),
        ("cp -p 99999999 x", None),
        ("node --max-old-space-size=4096 a.js", None),
        ("x --ports 12", None),
        ("curl http://db:5432", None),
    ],
)
def test_the_port_in_a_command(command: str, port: int | None) -> None:
    assert port_in(command) == port


def test_an_image_that_is_not_here_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert inspect("python:3") is None
