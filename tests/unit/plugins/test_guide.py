"""The guide's plugin and the example package do what they say, with their own tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCS, ROOT, samples

GUIDE = (DOCS / "how-to" / "write-a-plugin.md").relative_to(ROOT)
EXAMPLE = ROOT / "examples" / "plugin"
LINES = 15


def _run(*command: str, folder: Path, path: Path | None = None) -> str:
    environ = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    environ.pop("STAGER_CONFIG", None)
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _pytest(*arguments: str, folder: Path, path: Path) -> str:
    options = ("-q", "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={folder}")
    return _run("-m", "pytest", *options, *arguments, folder=folder, path=path)


@pytest.mark.requirement("R17", "R20")
def test_the_guides_plugin_passes_the_guides_test(tmp_path: Path) -> None:
    plugin, test, *_ = (sample.text for sample in samples("python") if sample.page == GUIDE)
    assert len(plugin.splitlines()) <= LINES
    body = test.partition("def test_")[2].splitlines()[1:]
    assert len(body) <= 5
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "say_hello.py").write_text(plugin)
    (tmp_path / "test_say_hello.py").write_text(test)
    assert "1 passed" in _pytest("test_say_hello.py", folder=tmp_path, path=tmp_path)


@pytest.mark.requirement("R17")
def test_the_guides_configuration_switches_it_on(tmp_path: Path) -> None:
    plugin = next(sample.text for sample in samples("python") if sample.page == GUIDE)
    configuration = next(sample.text for sample in samples("text") if sample.page == GUIDE)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "say_hello.py").write_text(plugin)
    (tmp_path / "config.yml").write_text(configuration)
    rows = json.loads(_run("-m", "stager", "plugins", "--json", folder=tmp_path))
    assert [row for row in rows if row["enabled"] and row["origin"] != "Stager"] == [
        {
            "name": "SayHello",
            "short": "",
            "kind": "post_launch_handlers",
            "origin": "plugins/say_hello.py",
            "enabled": True,
            "description": "Greets each preview that is live.",
        }
    ]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    target = folder / "site"
    _run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
         "--disable-pip-version-check", "--root-user-action=ignore", "--target", str(target), str(source),
         folder=folder)  # fmt: skip
    return target


def test_the_example_package_passes_its_own_test(installed: Path) -> None:
    tests = str(installed.parent / "source" / "tests")
    assert "1 passed" in _pytest(tests, folder=installed.parent, path=installed)


def test_the_example_package_is_found_once_it_is_installed(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(
        "post_launch_handlers: RecordOnLaunch\nhandlers: {RecordOnLaunch: {file: launches.jsonl}}\n"
    )
    rows = json.loads(_run("-m", "stager", "plugins", "--json", folder=tmp_path, path=installed))
    [on] = [row for row in rows if row["enabled"] and row["origin"] != "Stager"]
    assert (on["name"], on["origin"]) == ("RecordOnLaunch", "stager-hello 1.0")
    assert "RecordOnLaunch" in _run("-m", "stager", "plugins", folder=tmp_path, path=installed)


def test_what_the_example_says_in_its_readme_is_right() -> None:
    readme = (EXAMPLE / "README.md").read_text()
    for path in ("examples/plugin", "../../docs/how-to/write-a-plugin.md"):
        assert path in readme
    assert (EXAMPLE / "../../docs/how-to/write-a-plugin.md").resolve().is_file()
