"""Which program builds: Docker's plugin itself, if `docker` reports its path."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from stager.domain.unexpected import ending_of
from stager.engines.docker.build.build_context import Context
from stager.engines.docker.build.buildx import BY_DOCKER, LONGEST_STRING, command, environment, program

BUILDX = {"Name": "buildx"}


class Machine:
    """One with a `docker` with this output."""

    def __init__(self, folder: Path) -> None:
        self.plugin = self._command(folder / "plugins" / "docker-buildx", "exit 1")
        self._docker = folder / "bin" / "docker"
        self.environment = {"PATH": f"{self._docker.parent}:/usr/bin:/bin"}

    def says(self, text: str) -> None:
        self._command(self._docker, f"cat <<'END'\n{text}\nEND\nexit 1")

    @staticmethod
    def _command(path: Path, script: str) -> Path:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setenv("PATH", machine.environment["PATH"])
    machine.says(json.dumps([{"Name": "compose"}, BUILDX | {"Path": str(machine.plugin)}]))
    return machine


async def test_is_the_plugin_itself(machine: Machine) -> None:
    """Though the engine is away, which makes `docker info` fail and complain."""
    assert await program(machine.environment) == (str(machine.plugin),)
    machine.says(
        "Cannot connect to the Docker daemon.\n" + json.dumps([BUILDX | {"Path": str(machine.plugin)}])
    )
    assert await program(machine.environment) == (str(machine.plugin),)


async def test_is_docker_where_the_plugin_is_gone(machine: Machine) -> None:
    machine.plugin.unlink()
    assert await program(machine.environment) == BY_DOCKER


@pytest.mark.parametrize(
    "said", ["", "null", "[]", "{}", "[{}]", '[{"Name": "buildx"}]', '[{"Name": "compose", "Path": "/x"}]']
)
async def test_is_docker_if_the_version_is_unknown(machine: Machine, said: str) -> None:
    machine.says(said)
    assert await program(machine.environment) == BY_DOCKER


async def test_is_looked_for_by_docker(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await program({"PATH": str(tmp_path)})


class TestLength:
    """A value that no program can be given is named before one is started."""

    VARIABLE = "STAGER_BUILD_SECRET_0="

    def test_the_longest_secret_that_linux_takes_is_taken(self, tmp_path: Path) -> None:
        recipe = Recipe(secrets={"npm": "a" * (LONGEST_STRING - len(self.VARIABLE))})
        variables = environment(recipe, "unix:///nowhere", tmp_path)
        assert subprocess.run(["/bin/true"], env=variables, check=False).returncode == 0

    def test_one_more_byte_is_refused_by_name(self, tmp_path: Path) -> None:
        secret = "a" * (LONGEST_STRING - len(self.VARIABLE)) + "b"
        with pytest.raises(Fault, match='The build secret "npm" is too large') as caught:
            environment(Recipe(secrets={"npm": secret}), "unix:///nowhere", tmp_path)
        assert caught.value.reason == "value-too-large"
        assert "aaaa" not in f"{caught.value} {caught.value.detail}"

        with pytest.raises(OSError, match="Argument list too long") as refused:
            subprocess.run(["/bin/true"], env={self.VARIABLE[:-1]: secret}, check=False)
        assert ending_of(refused.value).reason == "value-too-large"

    def test_an_argument_as_well(self, tmp_path: Path) -> None:
        context = Context(tmp_path, tmp_path / "Dockerfile")
        recipe = Recipe(arguments={"A": "ü" * (LONGEST_STRING // 2)})
        with pytest.raises(Fault, match='The build argument "A" is too large'):
            command(context, recipe, labels={}, tag="t", id_file=tmp_path / "id", cgroup_parent="")
