"""Wheels, as the documentation builds them, and environments that have one without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
URL = "https://git.example.org/acme/stager"


def run(
    *command: str | Path, folder: Path, timeout: float = 240, variables: Mapping[str, str] | None = None
) -> str:
    """Run a command outside the checkout and return its output."""
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        command, cwd=folder, env=clean | dict(variables or {}), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Wheels:
    """One wheel of each kind; `compiled` is None where there is no compiler."""

    pure: Path
    compiled: Path | None

    @property
    def the_compiled(self) -> Path:
        if self.compiled is None:
            pytest.skip("there is no C compiler, or Python's headers are missing")
        return self.compiled


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wheels]:
    folder = tmp_path_factory.mktemp("w")
    pure = build(folder / "pure", STAGER_COMPILED="off")
    compiled = build(folder / "auto", STAGER_COMPILED="auto", STAGER_REPOSITORY_URL=URL)
    yield Wheels(pure, None if compiled.name.endswith("-none-any.whl") else compiled)
    shutil.rmtree(folder)


def build(target: Path, **variables: str) -> Path:
    """Build a wheel of the checkout into a new folder."""
    options: list[str | Path] = ["--no-deps", "--no-build-isolation", "--wheel-dir", target]
    run(sys.executable, "-m", "pip", "wheel", "--quiet", *options, ROOT, folder=ROOT, variables=variables)
    [wheel] = target.glob("*.whl")
    return wheel


def environment_with(folder: Path, *requirements: str | Path) -> Path:
    """Install into a new virtual environment, as pipx does; returns the folder of its commands."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    pip(folder, "install", "--quiet", *requirements)
    return folder / "bin"


def pip(environment: Path, *arguments: str | Path) -> str:
    """Run this environment's pip in another one, which needs none of its own then."""
    command = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", *arguments]
    return run(*command, folder=environment, variables={"PIP_COMPILE": "0"})


def packages_of(environment: Path) -> Path:
    """The folder of an environment's packages."""
    [folder] = (environment / "lib").glob("python*/site-packages")
    return folder
