"""The wheel: its metadata, the client alone, the server, and the front's tests with the compiled modules."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from hatch_build import COMPILED, with_links_to
from stager.cli.command_table import COMMANDS
from stager.version import __version__
from tests.packaging.conftest import ROOT, URL, Wheels, environment_with, packages_of, pip, run
from tests.unit.front.harness import free_port

WHERE = """
import importlib, json, sys
print(json.dumps([importlib.import_module(name).__file__ for name in sys.argv[1:]]))
"""
pytestmark = pytest.mark.timeout(600)  # mypyc compiles for half a minute of processor time

MODULES = [path.removesuffix(".py").replace("/", ".") for path in COMPILED]


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return message_from_bytes(archive.read(f"stager-{__version__}.dist-info/METADATA"))


def readme_of(wheel: Path) -> str:
    payload = metadata_of(wheel).get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def test_the_readme_leads_to_the_published_repository(wheels: Wheels) -> None:
    metadata, readme = metadata_of(wheels.the_compiled), readme_of(wheels.the_compiled)
    targets = re.findall(r"\]\(([^)\s]+)\)", readme)
    assert targets
    assert all(target.startswith(("https://", "http://", "#")) for target in targets)
    assert f"{URL}/blob/v{__version__}/docs/tutorial.md" in targets
    assert f"Source, {URL}" in metadata.get_all("Project-URL", [])


def test_without_a_published_repository_there_are_no_urls(wheels: Wheels) -> None:
    assert metadata_of(wheels.pure).get_all("Project-URL") is None
    targets = re.findall(r"\]\(([^)\s]+)\)", readme_of(wheels.pure))
    assert all(target.startswith(("https://", "http://", "#")) for target in targets)


def test_links_of_a_readme() -> None:
    text = "[a](docs/a.md#b) ![c](docs/c.png) [d](https://d.example) [e](#e)"
    assert with_links_to("", text) == "a  [d](https://d.example) [e](#e)"
    tree = "https://x.example/blob/v1"
    assert with_links_to(tree, text) == (
        f"[a]({tree}/docs/a.md#b) ![c](https://x.example/raw/v1/docs/c.png) [d](https://d.example) [e](#e)"
    )


def test_it_has_the_program_and_no_tests(wheels: Wheels) -> None:
    with zipfile.ZipFile(wheels.pure) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"stager", f"stager-{__version__}.dist-info"}
    assert "stager/web/templates/layout.html" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.fixture(scope="module")
def client(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that has the client alone."""
    return environment_with(tmp_path_factory.mktemp("c") / "v", wheels.pure)


def test_the_client_alone_answers_for_itself(client: Path, tmp_path: Path) -> None:
    assert run(client / "stager", "--version", folder=tmp_path).strip() == f"stager {__version__}"
    assert "stager[server]" in run(client / "stager", "--help", folder=tmp_path)
    installed = pip(client.parent, "list", "--format", "freeze")
    assert "fastapi" not in installed
    assert "aiodocker" not in installed


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS if not entry.client_module])
def test_each_command_of_the_server_says_how_to_install_it(client: Path, name: str, tmp_path: Path) -> None:
    command = str(client / "stager")
    done = subprocess.run(
        [command, name], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"stager: `stager {name}` needs the server, which isn't installed."
        " Install it: pip install 'stager[server]'\n"
    )


@pytest.fixture(scope="module")
def server(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that has the server, with its front compiled where that is possible. The
    libraries are those of the tests; test_pages.py installs them."""
    folder = tmp_path_factory.mktemp("s") / "v"
    commands = environment_with(folder, "--no-deps", wheels.compiled or wheels.pure)
    (packages_of(folder) / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return commands


def files_of(
    python: Path, modules: list[str], folder: Path, variables: Mapping[str, str] | None = None
) -> list[str]:
    found = run(python, "-c", WHERE, *modules, folder=folder, variables=variables)
    files: list[str] = json.loads(found)
    return files


def test_the_server_runs_from_the_wheel(server: Path, wheels: Wheels, tmp_path: Path) -> None:
    files = files_of(server / "python", MODULES, tmp_path)
    assert not [file for file in files if str(ROOT / "src") in file]
    assert all(file.endswith(".so") for file in files) == (wheels.compiled is not None)
    (tmp_path / "config.yml").write_text(f"listen: 127.0.0.1:{free_port()}\ndomain: localhost\nhelper: off\n")
    run(server / "stager", "serve", "--detach", folder=tmp_path)
    try:
        assert "front:         running" in run_status(server, tmp_path)
    finally:
        run(server / "stager", "stop", folder=tmp_path)


def run_status(commands: Path, folder: Path) -> str:
    """What `stager status` prints; without Docker, its exit code says that Stager isn't ready."""
    command = str(commands / "stager")
    return subprocess.run([command, "status"], cwd=folder, capture_output=True, text=True, check=False).stdout


def test_the_compiled_modules_pass_the_fronts_tests(wheels: Wheels, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheels.the_compiled) as archive:
        archive.extractall(tmp_path / "w")
    first = {"PYTHONPATH": str(tmp_path / "w")}  # before the checkout
    files = files_of(Path(sys.executable), MODULES, tmp_path, first)
    assert all(file.startswith(str(tmp_path)) and file.endswith(".so") for file in files)
    tests = [
        "tests/unit/front",
        "tests/integration/test_front_proxy.py",
        "tests/integration/test_front_responses.py",
    ]
    with tempfile.TemporaryDirectory(prefix="t-") as short:  # a socket's path has at most 107 bytes
        options = ["-q", "-p", "no:cacheprovider", "--basetemp", f"{short}/t"]
        print(run(sys.executable, "-m", "pytest", *options, *tests, folder=ROOT, variables=first))
