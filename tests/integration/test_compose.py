"""A Compose file by `stager up`, beside `docker compose up`: the same services, environment, names, files and
health."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.stager import docker, until
from tests.integration.up import Up, need_image, running_up

BASE = "stager-base/python:1"
FILES = {
    "compose.yaml": """\
x-common: &common
  build: .
  volumes: [".:/app", "uploads:/uploads"]
  restart: unless-stopped
services:
  web:
    <<: *common
    command: python3 -u web.py "an argument" 'single $$HOME' ${NAME:-world}
    ports: ["8000"]
    env_file: .env
    environment: {GREETING: "hello ${NAME:-world}", NUMBER: 1.10, DATA_URL: "http://data:7000/$$x", EMPTY: ""}
    volumes: [".:/app", "uploads:/uploads", "./motd.txt:/etc/motd-of-app:ro", "./pages:/pages"]
    depends_on:
      prepare: {condition: service_completed_successfully}
      data: {condition: service_healthy}
  prepare:
    <<: *common
    command: [sh, -c, "echo prepared > /uploads/prepared"]
    restart: "no"
  data:
    image: stager-base/python:1
    container_name: ${PROJECT:-the}-data
    user: "1000:1000"
    working_dir: /tmp
    entrypoint: [python3, -m]
    command: http.server 7000
    environment: [LEVEL=info]
    healthcheck:
      test: ["CMD-SHELL", "python3 -c 'import urllib.request as u; u.urlopen(\\"http://127.0.0.1:7000\\")'"]
      interval: 1s
    tmpfs: /scratch
    networks: {default: {aliases: [storage]}}
  tools:
    image: stager-base/python:1
    privileged: true
    profiles: [tools]
volumes: {uploads: }
""",
    "compose.override.yaml": "services:\n  web:\n    environment: {GREETING: hello from the override}\n",
    ".env.example": "SECRET_KEY=change-me\nTHEME=dark\nTEXT='a $b'\n",
    ".gitignore": ".env\n",
    "motd.txt": "good day\n",
    "pages/index.html": "<h1>A page</h1>\n",
    "Dockerfile": f"FROM {BASE}\nWORKDIR /app\nCOPY . .\n",
    "web.py": """\
import http.server, json, pathlib, socket, sys, urllib.request

PATHS = ("/uploads/prepared", "/etc/motd-of-app", "/pages/index.html", "/app/web.py")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = {
            "data": urllib.request.urlopen("http://data:7000/", timeout=5).status,
            "names": [name for name in ("web", "data", "storage") if socket.gethostbyname(name)],
            "files": {path: pathlib.Path(path).read_text() for path in PATHS},
            "arguments": sys.argv[1:],
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())


http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
""",
}
OURS = ("STAGER", "PORT", "action", "container_name", "image_name", "pull_request_number", "repo_owner")
"""The beginnings of variables that Stager adds."""


class Compose:
    """The project by `docker compose`.

    Args:
        folder: with its files, and with the `.env` that Stager proposes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"stager-test-{secrets.token_hex(4)}"

    def run(self, *words: str) -> str:
        environ = {**os.environ, "PROJECT": self._name}
        done = subprocess.run(
            ["docker", "compose", "--project-name", self._name, *words],
            cwd=self._folder, env=environ, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def container(self, service: str) -> dict[str, Any]:
        return inspected(self.run("ps", "--all", "--quiet", service).strip())

    def page(self) -> dict[str, Any]:
        script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000').read().decode())"
        found: dict[str, Any] = json.loads(self.run("exec", "-T", "web", "python3", "-c", script))
        return found


def inspected(container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("container", "inspect", container))[0]
    return found


def of_container(container: dict[str, Any]) -> dict[str, Any]:
    """What both have to agree on."""
    config = container["Config"]
    variables = dict(each.split("=", 1) for each in config["Env"])
    return {
        "command": config["Cmd"],
        "entrypoint": config["Entrypoint"],
        "user": config["User"],
        "working_dir": config["WorkingDir"],
        "variables": {key: value for key, value in variables.items() if not key.startswith(OURS)},
        "volumes": sorted(
            each["Destination"] for each in container["Mounts"] if "uploads" in each.get("Name", "")
        ),
        "tmpfs": sorted(container["HostConfig"].get("Tmpfs") or {}),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    need_image(BASE)
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose isn't available")
    for name, text in FILES.items():
        (tmp_path / "tide" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tide" / name).write_text(text)
    return tmp_path / "tide"


@pytest.fixture
def up(folder: Path) -> Iterator[Up]:
    with running_up(folder) as up:
        yield up


@pytest.fixture
def compose(folder: Path, tmp_path: Path) -> Iterator[Compose]:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / ".env").write_text("SECRET_KEY=any\nTHEME=dark\nTEXT='a $b'\n")
    compose = Compose(copy)
    yield compose
    compose.run("down", "--volumes", "--rmi", "local", "--timeout", "1")


def test_the_same_by_stager_and_by_compose(up: Up, compose: Compose) -> None:
    compose.run("up", "--detach", "--build", "--wait", "web", "data")
    theirs = until(compose.page, "Compose's page")
    ours = json.loads(until(up.page, "Stager's page"))
    assert ours == theirs
    assert ours["names"] == ["web", "data", "storage"]
    assert ours["arguments"] == ["an argument", "single $HOME", "world"]
    containers = {each["Config"]["Hostname"]: each for each in map(inspected, up.containers())}
    for service in ("web", "data"):
        expected, found = of_container(compose.container(service)), of_container(containers[service])
        assert len(expected["variables"].pop("SECRET_KEY", "")) in (0, len("any"))
        assert len(found["variables"].pop("SECRET_KEY", "")) in (0, 32)
        assert found == expected
    assert compose.container("prepare")["State"]["ExitCode"] == 0
    assert compose.container("data")["State"]["Health"]["Status"] == "healthy"
    mounts = [mount for each in containers.values() for mount in each["Mounts"] if mount["Type"] == "bind"]
    assert mounts == []  # nothing of the machine
    assert "tools" not in containers
    assert up.interrupt() == 0
    assert up.left() == []
    assert docker("volume", "ls", "--quiet", f"--filter=label=stager.installation={up.installation}") == ""
