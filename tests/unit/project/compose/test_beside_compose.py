"""What is read from Compose files, beside what `docker compose config` says of the same ones.

A variable that gets a generated value, and a missing environment file with its sample, are given to both, as
Compose has neither.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stager.domain import catalogue
from stager.domain.service import Condition, ServiceSpec
from stager.project.compose import Options, Reading, read
from stager.project.tree import Tree
from stager.project.variables import Variable, parse_env
from tests.unit.project.compose.cases import CASES

_UNSET = re.compile(r"(\w+) isn't set; it gets a generated value")
NAMES = {
    Condition.STARTED: "service_started",
    Condition.HEALTHY: "service_healthy",
    Condition.COMPLETED: "service_completed_successfully",
}
SCALED = ("worker-scaled-to-zero", "cron-scaled-to-zero")
"""Services of our files that Compose lists although it starts none."""
ADDED = ("/etc/caddy/Caddyfile", "/run/secrets/token")
"""Configs and secrets, which Compose mounts in another way."""
FOLDERS = {"data/db": "data-db", ".docker/pg": "docker-pg"}
"""Folders without files, which are volumes."""
_OWN_KEYS = ("command", "entrypoint", "environment", "user", "working_dir", "stop_signal")


def has_compose() -> bool:
    """Whether this machine has version 2 of Compose."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    command = [docker, "compose", "version", "--short"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.lstrip("v").startswith("2.")


pytestmark = pytest.mark.skipif(not has_compose(), reason="docker compose isn't available")


def config(folder: Path, options: Options) -> dict[str, Any]:
    """Return the services as Compose reads them. Raises `CalledProcessError` if it refuses the file."""
    files = ["--file", options.path] if options.path else []
    profiles = [word for each in sorted(options.profiles) for word in ("--profile", each)]
    command = ["docker", "compose", "--project-name", "p", *files, *profiles, "config", "--format", "json"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **options.variables}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def completed(tree: Tree, options: Options) -> tuple[Reading, Options]:
    """Read a file with values instead of the generated ones, and with the missing environment files."""
    first = read(tree, options)
    assert first
    for proposal in first.proposals:
        declared = parse_env(tree.text(proposal.sample)) if proposal.sample else {}
        names = [name for name, value in declared.items() if not Variable(name, value, "").is_own_address]
        lines = [tree.text(proposal.sample)] + [f"{name}=made-{name}\n" for name in proposal.generated]
        dropped = [f"{name}=" for name in declared if name not in names]
        text = "".join(
            line for line in "".join(lines).splitlines(True) if not line.startswith(tuple(dropped))
        )
        (tree.root / proposal.file).write_text(text)
    unset = {name: f"made-{name}" for each in first.guesses for name in _UNSET.findall(each.text)}
    options = replace(options, variables={**unset, **options.variables})
    found = read(tree, options)
    assert found
    assert not found.proposals
    return found, options


def of_compose(service: dict[str, Any], root: str) -> dict[str, Any]:
    """The parts of a service that both have, as Compose writes it."""
    build = service.get("build")
    found: dict[str, Any] = {key: _unescaped(service.get(key)) for key in _OWN_KEYS}
    found["environment"] = {k: v for k, v in (found["environment"] or {}).items() if v is not None}
    return found | {
        "image": None if build else service.get("image"),
        "build": build
        and (
            posixpath.relpath(build["context"], root),
            posixpath.normpath(build["dockerfile"]),
            build.get("target", ""),
            {k: v for k, v in build.get("args", {}).items() if v is not None},
        ),
        "depends_on": {name: each["condition"] for name, each in service.get("depends_on", {}).items()},
        "test": _test(service.get("healthcheck")),
        "mounts": sorted(
            _mount(each, root) for each in service.get("volumes", ()) if each["type"] != "tmpfs"
        ),
        "tmpfs": sorted(
            [each.partition(":")[0] for each in _listed(service.get("tmpfs"))]
            + [each["target"] for each in service.get("volumes", ()) if each["type"] == "tmpfs"]
        ),
        "ports": [each["target"] for each in service.get("ports", ()) if each["protocol"] == "tcp"],
        "memory": int(service.get("mem_limit") or _limits(service).get("memory") or 0),
        "cpus": float(service.get("cpus") or _limits(service).get("cpus") or 0),
        "shm": int(service.get("shm_size") or 0),
    }


def of_ours(spec: ServiceSpec) -> dict[str, Any]:
    """The same parts of a service that was read."""
    check = spec.check
    return {
        "command": None if spec.command is None else list(spec.command),
        "entrypoint": None if spec.entrypoint is None else list(spec.entrypoint),
        "environment": dict(spec.variables),
        "user": spec.user or None,
        "working_dir": spec.working_dir or None,
        "stop_signal": spec.stop_signal or None,
        "image": spec.image or None,
        "build": spec.build
        and (spec.build.context, spec.build.dockerfile, spec.build.target, dict(spec.build.arguments)),
        "depends_on": {name: NAMES[each] for name, each in spec.depends_on.items()},
        "test": None if check is None else list(check.command),
        "mounts": sorted((each.target, each.volume or each.content) for each in spec.mounts),
        "tmpfs": sorted(spec.tmpfs),
        "ports": [] if spec.port is None else [spec.port],
        "memory": spec.memory or 0,
        "cpus": spec.cpus or 0.0,
        "shm": spec.shared_memory or 0,
    }


def _unescaped(value: Any) -> Any:
    """Compose writes `$` as `$$`, so that what it prints can be read again."""
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, list):
        return [_unescaped(each) for each in value]
    return {key: _unescaped(each) for key, each in value.items()} if isinstance(value, dict) else value


def _test(check: dict[str, Any] | None) -> list[str] | None:
    if check is None or not (check.get("test") or check.get("disable")):
        return None
    kind, *rest = _unescaped(check.get("test") or ["NONE"])
    if check.get("disable") or kind == "NONE":
        return []
    return ["/bin/sh", "-c", *rest] if kind == "CMD-SHELL" else rest


def _mount(mount: dict[str, Any], root: str) -> tuple[str, str]:
    source = mount.get("source", "")
    return posixpath.normpath(mount["target"]), posixpath.relpath(source, root) if mount[
        "type"
    ] == "bind" else source


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def _limits(service: dict[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = service.get("deploy", {}).get("resources", {}).get("limits", {})
    return found


def adapted(theirs: dict[str, Any], ours: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Compose's service with the differences that are meant.

    Args:
        names: the names of the model by the file's own.
    """
    theirs = {
        **theirs,
        "depends_on": {names[key]: each for key, each in theirs["depends_on"].items() if key in names},
    }
    if ours["ports"] and (not theirs["ports"] or ours["ports"][0] in theirs["ports"]):
        theirs["ports"] = ours["ports"]  # of several one is routed; without any, that of `expose`
    if theirs["test"] is None and catalogue.find(theirs["image"] or ""):
        theirs["test"] = ours["test"]  # the port of a known database
    if not ours["ports"]:
        theirs["ports"] = []  # a database has no host
    if theirs["image"] and not ours["image"]:  # what another service builds, or the repository's own
        theirs |= {"image": None, "build": ours["build"]}
    own = {target for target, _ in ours["mounts"]}  # code that the image holds isn't mounted
    kept = [(target, FOLDERS.get(source, source)) for target, source in theirs["mounts"] if target in own]
    added = [each for each in ours["mounts"] if each[0] in ADDED]
    return {**theirs, "mounts": sorted([*kept, *added])}


@pytest.mark.parametrize("name", CASES)
def test_the_same_services(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found, options = completed(case.write(tmp_path), case.options)
    theirs = config(tmp_path, options)
    names = {alias: each.name for each in found.services for alias in (each.name, *each.aliases)}
    renamed = {
        names[key]: each for key, each in theirs.items() if each.get("scale") != 0 and key not in SCALED
    }
    assert {each.name for each in found.services} == renamed.keys()
    for service in found.services:
        ours = of_ours(service)
        root = str(tmp_path.resolve())
        assert ours == adapted(of_compose(renamed[service.name], root), ours, names), service.name
