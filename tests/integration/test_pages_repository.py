"""The how-to pages about repositories, with their commands as written."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stager.settings.repository_file import read_file
from tests.integration.console import PAGES_DOMAIN, Console, console, needs_mounts
from tests.integration.images import base_image
from tests.integration.stager import docker, until
from tests.unit.docs.pages import samples
from tests.unit.docs.written import page_sample, typed

pytestmark = [pytest.mark.docker, pytest.mark.skipif(bool(needs_mounts), reason=needs_mounts)]

SERVER = """\
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(open("page").read().encode())

http.server.HTTPServer(("", 3000), Handler).serve_forever()
"""
SHOP = {
    "Dockerfile": """\
FROM stager-base/python:1
WORKDIR /app
COPY . .
RUN npm ci
EXPOSE 3000
CMD ["python3", "server.py"]
""",
    "server.py": SERVER,
    "page": "Hello from the shop",
}
FLASK = {"app.py": "from flask import Flask\n\napp = Flask(__name__)\n", "requirements.txt": "flask\n"}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Console]:
    base_image("python")
    with console(tmp_path) as made:
        yield made


def shop(**more: str) -> dict[str, str]:
    """A repository for `build: .`; the machine has no npm packages to fetch, so `npm` is a stand-in."""
    dockerfile = SHOP["Dockerfile"].replace("RUN npm", "COPY --chmod=755 npm /usr/bin/\nRUN npm")
    return {**SHOP, "Dockerfile": dockerfile, "npm": "#!/bin/sh\n", **more}


def configure(shell: Console, domain: str) -> None:
    """The page's own configuration, with a server of the test's."""
    [sample] = [s for s in samples("yaml") if s.page.name == "local-forge.md"]
    config = yaml.safe_load(sample.text)
    config["images"]["shop"] |= {"build": ".", "drain_timeout": 1, "stop_grace_period": 1}
    more = {"domain": domain, "listen": f"{shell.address}:80", "helper": "off"}
    users = {"authentication_strategy": "BasicAuthentication", "users": ["ann:a-password"]}
    (shell.server / "config.yml").write_text(yaml.safe_dump(config | more | users))
    shell.run("stager serve --detach")


def comparable(line: str) -> str:
    """A line without what differs from run to run: git's padding, the step, the time that it took."""
    return re.sub(r"#\d+ \[\d/\d\]|\d+ s", "N", line.strip())


def assert_shown(said: str, lines: list[str]) -> None:
    """These lines are in the output, in this order."""
    seen = iter([comparable(line) for line in said.splitlines()])
    assert [line for line in lines if comparable(line) not in seen] == [], said


def test_a_build_without_stager(shell: Console) -> None:
    shell.repository("your-account/shop", shop())
    page = page_sample("build-from-source.md", "git clone https://github.com/your-account/shop.git")
    running = shell.sit(page)
    try:
        visit = ["curl", "-s", "--max-time", "5", "http://127.0.0.1:3000/"]
        until(lambda: "Hello from the shop" in subprocess.run(
            visit, capture_output=True, text=True, check=False).stdout, "it serves", 120)  # fmt: skip
        running.type("\x03")
        running.ends()
    finally:
        print(running.said)
        running.process.kill()
        for container in docker("ps", "-aq", "--filter=ancestor=shop:try").split():
            docker("rm", "-f", container)
        docker("image", "rm", "-f", "shop:try")


def test_push_to_a_repository_on_this_machine(shell: Console) -> None:
    clone = shell.repository("shop", shop())
    configure(shell, "localhost:8000")
    shell.run("git switch -qc warm-welcome && git commit -qm Warm --allow-empty", at=clone)
    for command, lines in typed(page_sample("local-forge.md", "$ git remote add stager /srv/git/shop.git")):
        assert_shown(shell.run(command, at=clone), lines)
    shell.run("git commit -qm Warmer --allow-empty", at=clone)
    [(command, lines)] = typed(page_sample("local-forge.md", "$ git push -o wait stager warm-welcome"))
    assert_shown(shell.run(command, at=clone), lines)
    shell.run("stager stop && git -C ../clones/shop commit -qm More --allow-empty")
    said = shell.run("git push stager warm-welcome", at=clone)
    assert_shown(said, page_sample("local-forge.md", "remote: stager: Stager isn't running;").splitlines())


def test_push_from_elsewhere(shell: Console) -> None:
    clone = shell.repository("shop", shop(page="Hello over HTTP"))
    configure(shell, PAGES_DOMAIN)
    shell.run("git remote add bare /srv/git/shop.git && git push -q bare main", at=clone)
    shell.run("git switch -qc warm-welcome", at=clone)
    commands = typed(page_sample("local-forge.md", "$ git remote add stager http://ann@demo.example.org"))
    for command, _ in commands:
        typing = shell.sit(command, at=clone)
        if "push" in command:
            typing.wait_for("Password for")
            typing.type("a-password\n")
        assert typing.ends() == 0, typing.said
    assert "opened change 1" in typing.said
    shell.wait_for(f"warm-welcome.{PAGES_DOMAIN}", "Hello over HTTP")


def test_init_writes_the_settings_and_the_dockerfile(shell: Console) -> None:
    clone = shell.repository("flask", FLASK)
    typing = shell.sit(page_sample("start-without-a-dockerfile.md", "stager init\n"), at=clone)
    typing.wait_for("ealth")
    typing.type("\n")  # as proposed
    assert typing.ends() == 0, typing.said
    keys = ("build", "port", "health_path", "env")
    assert read_file((clone / ".stager.yml").read_bytes(), ".stager.yml", keys)
    shell.run(page_sample("start-without-a-dockerfile.md", "stager init --dockerfile --force"), at=clone)
    assert "gunicorn" in (clone / "Dockerfile").read_text()
    assert (clone / ".dockerignore").exists()
