"""From a bare machine to live previews of one's own repositories, with the documentation's commands only.

Each way takes at most `MOST_COMMANDS` commands and one file. The base images are loaded into the machine,
which has no registry, and GitHub is the double of `tests.doubles`, on the machine itself.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.stager import until
from tests.soak.bare import BareMachine, bare_machine
from tests.unit.docs.pages import samples, sections

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get("STAGER_SOAK"), reason="takes many minutes: scripts/soak runs it"),
]

ROOT = Path(__file__).resolve().parents[2]
RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
MOST_COMMANDS = 5
STAGER = "/opt/stager/.venv/bin/stager"
CONFIG = "/etc/stager/config.yml"
PATIENCE = 300.0

FLASK = {
    "Dockerfile": """\
FROM stager-base/python-build:1
RUN pip install --break-system-packages flask
COPY app.py /app/app.py
EXPOSE 5000
CMD ["python3", "-m", "flask", "--app", "/app/app.py", "run", "--host", "0.0.0.0"]
""",
    "app.py": 'import flask\napp = flask.Flask("x")\n@app.get("/")\ndef home(): return "Hello from Flask"\n',
}
NODE = {
    "Dockerfile": """\
FROM stager-base/node:1
WORKDIR /app
COPY . .
RUN npm install --no-audit --no-fund
EXPOSE 3000
CMD ["node", "server.js"]
""",
    "package.json": '{"name": "shop", "private": true, "dependencies": {"express": "^4"}}\n',
    "server.js": 'require("express")().get("/", (_, res) => res.send("Hello from Node")).listen(3000)\n',
}
STATIC = {
    "Dockerfile": """\
FROM stager-base/static:1
COPY index.html /site/
EXPOSE 8080
CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]
""",
    "index.html": "<h1>Hello from a page</h1>\n",
}
PROJECTS = {"flask": (FLASK, "Hello from Flask"), "node": (NODE, "Hello from Node"),
            "static": (STATIC, "Hello from a page")}  # fmt: skip


@pytest.fixture(scope="module", params=RELEASES)
def machine(request: pytest.FixtureRequest, repository: Path) -> Iterator[BareMachine]:
    """A machine on which Stager is installed, with a user ann, who has three repositories."""
    with bare_machine(request.param) as made:
        made.copy(repository, "/stager.git")
        install(made)
        assert RELEASES[request.param] in made.run("/opt/stager/.venv/bin/python --version")
        made.load()
        made.run("useradd --create-home --groups docker --shell /bin/bash ann")
        made.run("git config --file /home/ann/.gitconfig user.name Ann")
        made.run("git config --file /home/ann/.gitconfig user.email ann@example.org")
        for name, (files, _) in PROJECTS.items():
            for path, text in files.items():
                made.write(f"/home/ann/{name}/{path}", text)
        made.run("chown -R ann: /home/ann")
        for name in PROJECTS:
            made.run(f"cd {name}; git init -qb main; git add .; git commit -qm 'First'", user="ann")
        yield made


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare clone of this checkout's commit, as a server has it."""
    target = tmp_path_factory.mktemp("clone") / "stager.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(target)], check=True)
    push = ["git", "-C", str(ROOT), "push", "--quiet", str(target), "HEAD:refs/heads/main"]
    subprocess.run(push, check=True)
    return target


def install(machine: BareMachine) -> str:
    """The one line of the documentation, whose script comes by a pipe; what it prints."""
    script = (ROOT / "scripts" / "install").read_text()
    return machine.run("sh", given=script, STAGER_SOURCE="/stager.git")


def sign_in(machine: BareMachine, output: str) -> None:
    """Follow the link in this output with a browser."""
    [(url, secret)] = re.findall(r"(http://\S+/login/link)\?secret=(\S+)", output)
    with httpx.Client(trust_env=False) as browser:
        origin = url.removesuffix("/login/link")
        assert machine.address in origin
        assert browser.post(url, data={"secret": secret}, headers={"Origin": origin}).status_code == 303
        assert browser.get(f"{origin}/api/v1/whoami").json()["role"] == "administrator"


def restart(machine: BareMachine) -> None:
    """`systemctl restart stager`, and wait until it is ready."""
    machine.run("systemctl restart stager")
    machine.run("timeout 90 sh -c 'until curl -sf http://127.0.0.1/readyz; do sleep 1; done'")


def page(machine: BareMachine, host: str, port: int, text: str) -> None:
    """Wait until a preview answers with this text."""

    def answer() -> bool:
        try:
            url, headers = f"http://{machine.address}:{port}/", {"Host": host}
            return text in httpx.get(url, headers=headers, trust_env=False, timeout=10).text
        except httpx.TransportError:
            return False

    until(answer, f"{host} says {text!r}", PATIENCE)


def test_the_administrator_signs_in_by_the_link(machine: BareMachine) -> None:
    output = install(machine)  # again: an upgrade
    assert "Stager is running" in output
    sign_in(machine, output)
    assert "login/link" not in install(machine)


def test_the_services_run_as_documented(machine: BareMachine) -> None:
    assert machine.run("systemctl is-active stager stager-helper").split() == ["active", "active"]
    assert machine.run("systemctl is-enabled stager stager-helper").split() == ["enabled", "enabled"]
    doctor = machine.run(f"sudo -u stager {STAGER} doctor --config {CONFIG} || true")
    assert "✓ helper: stager-helper" in doctor, doctor


@pytest.mark.parametrize("project", PROJECTS)
def test_by_stager_up(machine: BareMachine, project: str) -> None:
    text = PROJECTS[project][1]
    machine.run("! pgrep -u ann -f 'stager up'")
    up = machine.start(f"cd {project} && stager up", user="ann")
    ask = f"curl -s -H 'Host: {project}.localhost:8000' http://127.0.0.1:8000/ || true"
    try:
        until(lambda: text in machine.run(ask), f"{project} is live", PATIENCE)
    finally:
        machine.run("pkill -INT -u ann -f 'stager up' || true")
        said = up.communicate(timeout=120)[0]
    assert "live" in said


def local_forge(project: str) -> str:
    """The configuration with a repository on the machine."""
    return f"""\
listen: 0.0.0.0:80
domain: demo.example.org
state_dir: /var/lib/stager
local_forge:
  {project}: /var/lib/stager/git/{project}.git
images:
  {project}:
    build: .
authentication_strategy: BasicAuthentication
users:
  - ann:a-password
"""


@pytest.mark.parametrize("project", PROJECTS)
def test_by_the_local_forge(machine: BareMachine, project: str) -> None:
    machine.write(CONFIG, local_forge(project))
    restart(machine)
    commands = [
        f"git remote add stager http://ann:a-password@localhost/git/{project}.git",
        "git push -q stager main",
        f"git switch -qc by-push-{project}",
        f"git push -q stager by-push-{project}",
    ]
    assert 1 + len(commands) <= MOST_COMMANDS
    for command in commands:
        machine.run(f"cd {project} && {command}", user="ann")
    page(machine, f"by-push-{project}.demo.example.org", 80, PROJECTS[project][1])


@pytest.mark.parametrize("project", PROJECTS)
def test_by_github(machine: BareMachine, project: str) -> None:
    """One file, `systemctl restart stager`, `git push`, and a pull request."""
    words = f"/opt/stager/.venv/bin/python -m tests.soak.outside /home/ann/{project} {CONFIG}".split()
    command = ["docker", "exec", "--interactive", "--workdir=/opt/stager", machine.container, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as outside:
        assert outside.stdin is not None
        assert outside.stdout is not None
        assert outside.stdout.readline() == "written\n"
        restart(machine)
        outside.stdin.write("\n")
        outside.stdin.flush()
        said = outside.stdout.readline()
        machine.write(CONFIG, "listen: 0.0.0.0:80\ndomain: demo.example.org\nstate_dir: /var/lib/stager\n")
        restart(machine)
        outside.communicate("\n")
    assert PROJECTS[project][1] in said
    assert outside.returncode == 0


SERVED = "by-push-static.demo.example.org"


def commands_of(page: str, heading: str) -> str:
    """The first sample of a page under a heading, as written but for the repository's URL."""
    text = sections(ROOT / "docs" / "how-to" / page)[heading]
    found = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1].replace("https://git.example.org/stager.git", "/stager.git")


def test_upgrade_and_roll_back_as_documented(machine: BareMachine) -> None:
    """The previews of the local forge are served before, between and after."""
    machine.write(CONFIG, local_forge("static"))
    restart(machine)
    page(machine, SERVED, 80, PROJECTS["static"][1])
    before = machine.run("git -C /opt/stager rev-parse HEAD")
    machine.run("git clone -q /stager.git /tmp/next")
    author = "-c user.name=x -c user.email=x@example.org"
    machine.run(f"cd /tmp/next && git {author} commit -q --allow-empty -m Newer && git push -q")

    machine.run(commands_of("upgrade-and-recover.md", "Upgrade"))
    assert machine.run("git -C /opt/stager rev-parse HEAD") != before
    page(machine, SERVED, 80, PROJECTS["static"][1])

    machine.run(commands_of("upgrade-and-recover.md", "Roll back"))
    assert machine.run("git -C /opt/stager rev-parse HEAD") == before
    page(machine, SERVED, 80, PROJECTS["static"][1])


def test_uninstall_as_documented(machine: BareMachine) -> None:
    """The last test: nothing of Stager is left."""
    steps = [s.text for s in samples("bash") if s.page.name == "uninstall.md"]
    assert len(steps) == 4
    for step in steps:
        machine.run(step)
    assert machine.run("systemctl list-unit-files 'stager*' --no-legend || true") == ""
    assert machine.run("getent passwd stager || true") == ""
    assert machine.run("pgrep -af '[s]tager' || true") == ""
    assert machine.run("docker ps -aq; docker network ls -q --filter label=stager.installation") == ""
    assert "STAGER" not in machine.run("iptables-save; ip6tables-save")
    places = "/opt/stager /etc/stager /var/lib/stager* /usr/local/bin/stager /etc/systemd/system/stager*"
    assert machine.run(f"ls -d {places} 2>/dev/null || true") == ""


def test_without_systemd(repository: Path) -> None:
    """By the commands that it prints then."""
    with bare_machine("trixie", boots=False) as machine:
        machine.copy(repository, "/stager.git")
        output = install(machine)
        commands = [line.strip() for line in output.splitlines() if line.startswith("  ")]
        assert len(commands) == 3, output
        sign_in(
            machine, "".join(machine.run(f"{command} >/tmp/said 2>&1; cat /tmp/said") for command in commands)
        )
        assert machine.run("ls /etc/systemd/system | grep -c stager || true") == "0\n"
