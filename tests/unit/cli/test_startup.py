"""Start-up of the command line: what `stager --help`, completion and the client commands import."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stager.cli.command_table import COMMANDS, load
from stager.cli.up.session import SERVER as SERVER_OF_UP

LIBRARIES = [
    "aiodocker",
    "aiohttp",
    "alembic",
    "fastapi",
    "gidgethub",
    "jinja2",
    "prometheus_client",
    "sqlalchemy",
    "starlette",
    "structlog",
    "uvicorn",
    "yaml",
]
PACKAGES = [
    "assembly",
    "control",
    "front",
    "installation_checks",
    "ports",
    "settings",
    "state",
    "stores",
    "web",
]
SERVER = {*LIBRARIES, *(f"stager.{package}" for package in PACKAGES)}
CLIENT = ["httpx", "keyring", "pydantic", "rich"]
SCRIPT = """
import sys
from stager.cli.main import main
sys.argv[0] = "stager"
try:
    main()
finally:
    print(*sys.modules, file=open({file!r}, "w"))
"""
UNREACHABLE = "http://127.0.0.1:1"


def imported(tmp_path: Path, *arguments: str, **environ: str) -> set[str]:
    """The modules that a run of `stager` imports."""
    file = tmp_path / "modules"
    subprocess.run(
        [sys.executable, "-c", SCRIPT.format(file=str(file)), *arguments],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), **environ},
        capture_output=True,
        check=False,
    )
    modules = set(file.read_text().split())
    assert "stager.cli.main" in modules
    return modules


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ()])
def test_help_and_version_import_only_the_list_of_commands(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert not imported(tmp_path, *arguments) & {*SERVER, *CLIENT}


def test_completion_of_a_command_imports_only_the_list_of_commands(tmp_path: Path) -> None:
    modules = imported(tmp_path, _STAGER_COMPLETE="complete_bash", COMP_WORDS="stager la", COMP_CWORD="1")
    assert not modules & {*SERVER, "httpx", "keyring", "rich"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("launch", "shop", "x", "--no-open"),
        ("logs", "x"),
        ("login", "--stdin"),
        ("whoami",),
        ("token", "list"),
        ("configure",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_client_command_imports_nothing_of_the_server(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    modules = imported(tmp_path, *arguments, STAGER_ENDPOINT=UNREACHABLE, STAGER_TOKEN="x")
    assert not modules & SERVER


def test_a_token_in_the_environment_needs_no_keyring(tmp_path: Path) -> None:
    modules = imported(tmp_path, "list", STAGER_ENDPOINT=UNREACHABLE, STAGER_TOKEN="x")
    assert "httpx" in modules
    assert "keyring" not in modules


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_list_of_commands_shows_the_first_sentence_of_each_help(entry: object) -> None:
    assert isinstance(entry, type(COMMANDS[0]))
    text = " ".join(inspect.cleandoc(load(entry).help or "").split())
    assert text.startswith(entry.summary)


@pytest.mark.parametrize("modules", [("stager.cli.server", "stager.assembly.server"), SERVER_OF_UP])
def test_the_server_does_without_the_library_of_colors(modules: tuple[str, ...]) -> None:
    script = f"import sys\nfor name in {modules!r}: __import__(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "structlog" in done.stdout.split()
    assert not any(name.startswith("rich") for name in done.stdout.split())


def test_mcp_is_imported_by_its_first_request_only() -> None:
    script = "import sys, stager.assembly.web_server\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "stager.web.mcp.endpoint" in done.stdout.split()
    assert not {"mcp", "mcp_types"} & set(done.stdout.split())
