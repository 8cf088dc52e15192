"""From a bare machine to live previews of one's own repositories, with the documentation's commands only.

Each way takes at most `MOST_COMMANDS` commands and one file, all of them read from the pages. The base images
are loaded into the machine, which has no registry, and GitHub is the double of `tests.doubles`, on the
machine itself.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator

import httpx
import pytest
import yaml

from tests.integration.stager import until
from tests.soak.bare import LABEL, BareMachine, bare_machine
from tests.soak.forge import NAME, Forge, running_forge
from tests.unit.docs.pages import samples
from tests.unit.docs.written import page_sample, typed

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get("STAGER_SOAK"), reason="takes many minutes: scripts/soak runs it"),
]

RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
MOST_COMMANDS = 5
STAGER = "/opt/stager/.venv/bin/stager"
CONFIG = "/etc/stager/config.yml"
PATIENCE = 300.0
ASKPASS = "/home/ann/password"
"""What answers git's question for a password."""

FLASK = {
    "Dockerfile": """\
FROM stager-base/python-build:1
RUN pip install --break-system-packages flask
COPY app.py /app/app.py
EXPOSE 3000
CMD ["python3", "-m", "flask", "--app", "/app/app.py", "run", "--host", "0.0.0.0", "--port", "3000"]
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
EXPOSE 3000
CMD ["httpd", "-f", "-p", "3000", "-h", "/site"]
""",
    "index.html": "<h1>Hello from a page</h1>\n",
}
PROJECTS = {"flask": (FLASK, "Hello from Flask"), "node": (NODE, "Hello from Node"),
            "static": (STATIC, "Hello from a page")}  # fmt: skip
"""Each is the repository `shop` of the pages, in a folder of its own."""


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    with running_forge(f"{LABEL}=bare") as made:
        yield made


@pytest.fixture(scope="module", params=RELEASES)
def machine(request: pytest.FixtureRequest, forge: Forge) -> Iterator[BareMachine]:
    """A machine on which Stager is installed by one line, with a user ann, who has three repositories."""
    with bare_machine(request.param) as made:
        add_ann(made)
        made.knows(NAME, forge.address, forge.certificate)
        assert "Stager is running" in made.run(page_sample("run-as-a-service.md", "curl -fsSL"), user="ann")
        assert RELEASES[request.param] in made.run("/opt/stager/.venv/bin/python --version")
        made.load()
        made.run("usermod -aG docker ann")
        for name, (files, _) in PROJECTS.items():
            for path, text in files.items():
                made.write(f"/home/ann/{name}/shop/{path}", text)
        made.run("chown -R ann: /home/ann")
        for name in PROJECTS:
            made.run(f"cd {name}/shop; git init -qb main; git add .; git commit -qm 'First'", user="ann")
        yield made


def add_ann(machine: BareMachine) -> None:
    """A user who may become root, knows git, and whose password git reads from a program."""
    machine.run("useradd --create-home --shell /bin/bash ann")
    machine.write("/etc/sudoers.d/ann", "ann ALL=(ALL) NOPASSWD: ALL\n")
    machine.write(ASKPASS, "#!/bin/sh\necho a-password\n")
    machine.write(
        "/home/ann/.gitconfig", f"[user]\nname = Ann\nemail = ann@example.org\n[core]\naskPass = {ASKPASS}\n"
    )
    machine.run(f"chmod +x {ASKPASS}; chown -R ann: /home/ann; chmod 0440 /etc/sudoers.d/ann")


def sign_in(machine: BareMachine, output: str) -> None:
    """Follow the link in this output with a browser."""
    [(url, secret)] = re.findall(r"(http://\S+/login/link)\?secret=(\S+)", output)
    with httpx.Client(trust_env=False) as browser:
        origin = url.removesuffix("/login/link")
        assert machine.address in origin
        assert browser.post(url, data={"secret": secret}, headers={"Origin": origin}).status_code == 303
        assert browser.get(f"{origin}/api/v1/whoami").json()["role"] == "administrator"


def restart(machine: BareMachine) -> None:
    """As the page says, and wait until it is ready."""
    machine.run(page_sample("run-as-a-service.md", "sudo systemctl restart stager"), user="ann")
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


def test_a_clone_installs_as_well(machine: BareMachine) -> None:
    """After the line: an upgrade. The link of the first start is printed again: it is unused."""
    machine.run(f"git clone -q https://{NAME}/stager.git", user="ann")
    assert page_sample("README.md", "sudo scripts/install") == page_sample(
        "run-as-a-service.md", "sudo scripts/install"
    )
    install = f"cd stager && {page_sample('README.md', 'sudo scripts/install')}"
    output = machine.run(install, user="ann")
    assert "Stager is running" in output
    sign_in(machine, output)
    assert "login/link" not in machine.run(install, user="ann")


def test_the_services_run_as_documented(machine: BareMachine) -> None:
    assert machine.run("systemctl is-active stager stager-helper").split() == ["active", "active"]
    assert machine.run("systemctl is-enabled stager stager-helper").split() == ["enabled", "enabled"]
    machine.run(page_sample("run-as-a-service.md", "sudo chown -R root:stager /etc/stager"), user="ann")
    doctor = page_sample("run-as-a-service.md", "sudo -u stager /opt/stager/.venv/bin/stager doctor")
    assert doctor == page_sample("root-helper.md", "sudo -u stager /opt/stager/.venv/bin/stager doctor")
    said = machine.run(f"{doctor.strip()} || true", user="ann")
    assert "✓ helper: stager-helper" in said, said
    metrics = page_sample("operate-stager.md", "sudo -u stager curl --unix-socket")
    assert "stager_environments" in machine.run(metrics, user="ann")


def test_the_helper_answers_and_is_restarted(machine: BareMachine) -> None:
    said = machine.run(page_sample("root-helper.md", "sudo -u stager python3 -c"), user="ann")
    assert '"ok":true' in said.replace(" ", "")
    reload = page_sample("build-code-from-forks.md", "sudo systemctl daemon-reload && sudo systemctl")
    machine.run(reload, user="ann")
    machine.run("timeout 60 sh -c 'until [ -S /run/stager/helper.sock ]; do sleep 1; done'")
    machine.run("systemctl stop stager-helper")
    without = machine.start(page_sample("root-helper.md", "sudo mkdir -p /run/stager"), user="ann")
    machine.run("timeout 60 sh -c 'until [ -S /run/stager/helper.sock ]; do sleep 1; done'")
    machine.run(page_sample("root-helper.md", "sudo -u stager python3 -c"), user="ann")
    machine.run("pkill -TERM -f 'stager.helper --user stager'")
    without.communicate(timeout=60)
    machine.run("systemctl start stager-helper")


@pytest.mark.parametrize("project", PROJECTS)
def test_by_stager_up(machine: BareMachine, project: str) -> None:
    text = PROJECTS[project][1]
    assert page_sample("tutorial.md", "stager up") == "stager up\n"
    [(change, _), (command, lines)] = typed(page_sample("README.md", "$ cd shop"))
    machine.run("! pgrep -u ann -f 'stager up'")
    up = machine.start(f"cd {project} && {change} && {command}", user="ann")
    ask = "curl -s -H 'Host: shop.localhost:8000' http://127.0.0.1:8000/ || true"
    try:
        until(lambda: text in machine.run(ask), f"{project} is live", PATIENCE)
    finally:
        machine.run("pkill -INT -u ann -f 'stager up' || true")
        said = up.communicate(timeout=120)[0]
    assert all(line in said.splitlines() for line in lines), said


def local_forge() -> str:
    """The page's configuration, with the state folder's path that it names for a service, and a user."""
    [sample] = [s.text for s in samples("yaml") if s.page.name == "local-forge.md"]
    config = yaml.safe_load(sample.replace("/srv/git", "/var/lib/stager/git"))
    config["images"]["shop"]["build"] = "."
    service = {"listen": "0.0.0.0:80", "domain": "demo.example.org", "state_dir": "/var/lib/stager"}
    users = {"authentication_strategy": "BasicAuthentication", "users": ["ann:a-password"]}
    return yaml.safe_dump({**service, **users, **config})


@pytest.mark.parametrize("project", PROJECTS)
def test_by_the_local_forge(machine: BareMachine, project: str) -> None:
    """Each pushes another branch to the same repository."""
    machine.write(CONFIG, local_forge())
    machine.run("grep -q demo.example.org /etc/hosts || echo '127.0.0.1 demo.example.org' >>/etc/hosts")
    restart(machine)
    add, push = (
        command
        for command, _ in typed(page_sample("local-forge.md", "$ git remote add stager http://ann@demo"))
    )
    main = typed(page_sample("local-forge.md", "$ git remote add stager /srv/git/shop.git"))[1][0]
    branch = f"by-push-{project}"
    main, push = (
        line.replace("git push", "git push -qf") for line in (main, push.replace("warm-welcome", branch))
    )
    commands = [add, main, f"git switch -qc {branch}", push]
    assert 1 + len(commands) <= MOST_COMMANDS
    for command in commands:
        machine.run(f"cd {project}/shop && {command}", user="ann")
    page(machine, f"{branch}.demo.example.org", 80, PROJECTS[project][1])


@pytest.mark.parametrize("project", PROJECTS)
def test_by_github(machine: BareMachine, project: str) -> None:
    """The tutorial's file, `sudo systemctl restart stager`, `git push`, and a pull request."""
    machine.run(f"{STAGER} config check --config {CONFIG}")
    words = f"/opt/stager/.venv/bin/python -m tests.soak.outside /home/ann/{project}/shop {CONFIG}".split()
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


def served(machine: BareMachine) -> None:
    """The preview of the local forge is served."""
    page(machine, SERVED, 80, PROJECTS["static"][1])


def test_backup_and_restore_as_documented(machine: BareMachine) -> None:
    machine.write(CONFIG, local_forge())
    restart(machine)
    served(machine)
    machine.run(page_sample("operate-stager.md", "cd /var/lib/stager\nsudo -u stager python3"), user="root")
    machine.run(page_sample("operate-stager.md", "sudo systemctl stop stager\nsudo -u stager"), user="root")
    served(machine)


def test_upgrade_and_roll_back_as_documented(machine: BareMachine, forge: Forge) -> None:
    """The previews of the local forge are served before, between and after."""
    served(machine)
    before = machine.run("git -C /opt/stager rev-parse HEAD")
    forge.commit("Newer")

    machine.run(page_sample("upgrade-and-recover.md", "sudo git -C /opt/stager rev-parse HEAD"), user="ann")
    assert machine.run("git -C /opt/stager rev-parse HEAD") != before
    served(machine)

    roll_back = page_sample("upgrade-and-recover.md", "sudo systemctl stop stager\nsudo sh -c 'rm -f")
    machine.run(roll_back, user="ann")
    assert machine.run("git -C /opt/stager rev-parse HEAD") == before
    served(machine)


CERTIFICATE = "/etc/letsencrypt/live/demo.example.org"


def test_nginx_before_it_as_documented(machine: BareMachine) -> None:
    """One server for all, then with a certificate; and what sudo allows."""
    machine.run("DEBIAN_FRONTEND=noninteractive apt-get -q install --yes nginx >/dev/null")
    [here] = [
        s.text for s in samples("yaml") if s.page.name == "nginx-and-https.md" and "target_dir" not in s.text
    ][:1]
    machine.write(CONFIG, yaml.safe_dump(yaml.safe_load(local_forge()) | yaml.safe_load(here)))
    machine.run("systemctl restart stager; sleep 5; systemctl restart nginx")
    machine.run(
        page_sample("nginx-and-https.md", "sudo stager nginx config --config /etc/stager/config.yml | "),
        user="ann",
    )
    served(machine)

    files = f"-keyout {CERTIFICATE}/privkey.pem -out {CERTIFICATE}/fullchain.pem"
    certificate = f"req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 2 {files}"
    machine.run(f"mkdir -p {CERTIFICATE}; openssl {certificate} 2>&1")
    machine.run(
        page_sample("nginx-and-https.md", "sudo stager nginx config --config /etc/stager/config.yml \\"),
        user="ann",
    )
    ask = f"curl -sk --connect-to ::127.0.0.1:443 https://{SERVED}/"
    assert PROJECTS["static"][1] in machine.run(ask)
    machine.run(page_sample("nginx-and-https.md", "sudo chgrp stager /etc/nginx/sites-enabled"), user="ann")
    machine.run("runuser -u stager -- sh -c 'touch /etc/nginx/sites-enabled/.x && sudo -n nginx -t'")
    machine.run("systemctl disable --now nginx")


def test_haproxy_before_it_as_documented(machine: BareMachine) -> None:
    """One backend for all, then with a certificate; then a backend for each preview."""
    machine.run("DEBIAN_FRONTEND=noninteractive apt-get -q install --yes haproxy >/dev/null")
    one, each = [s.text for s in samples("yaml") if s.page.name == "haproxy.md"]
    machine.write(CONFIG, yaml.safe_dump(yaml.safe_load(local_forge()) | yaml.safe_load(one)))
    machine.run("systemctl restart stager; sleep 5")
    machine.run(
        page_sample("haproxy.md", "sudo stager haproxy config --config /etc/stager/config.yml | "), user="ann"
    )
    served(machine)

    files = f"-keyout {CERTIFICATE}/privkey.pem -out {CERTIFICATE}/fullchain.pem"
    certificate = f"req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 2 {files}"
    machine.run(f"mkdir -p {CERTIFICATE}; openssl {certificate} 2>&1")
    machine.run(page_sample("haproxy.md", "sudo sh -c 'umask 077"), user="ann")
    ask = f"curl -sk --http2 --retry 5 --retry-connrefused --connect-to ::127.0.0.1:443 https://{SERVED}/"
    assert PROJECTS["static"][1] in machine.run(ask)

    machine.run(page_sample("haproxy.md", "sudo install -d -o root -g stager"), user="ann")
    machine.run(
        "mkdir -p /etc/systemd/system/stager.service.d; printf '%s' "
        + shlex.quote(_drop_in("ReadWritePaths=/etc/haproxy/stager"))
        + " >/etc/systemd/system/stager.service.d/haproxy.conf; systemctl daemon-reload"
    )
    machine.write(CONFIG, yaml.safe_dump(yaml.safe_load(local_forge()) | yaml.safe_load(each)))
    machine.run("systemctl restart haproxy; systemctl restart stager; sleep 10")
    assert f"backend stager:{SERVED}" in machine.run("cat /etc/haproxy/stager/haproxy.cfg")
    served(machine)
    machine.run(
        "systemctl disable --now haproxy; rm -r /etc/systemd/system/stager.service.d; systemctl daemon-reload"
    )


def _drop_in(paths: str) -> str:
    """The drop-in of the page on nginx, with other paths."""
    [sample] = [s.text for s in samples("systemd") if s.page.name == "nginx-and-https.md"]
    lines = [line for line in sample.splitlines() if not line.startswith("ReadWritePaths=")]
    return "\n".join([*lines, paths, ""])


def test_uninstall_as_documented(machine: BareMachine) -> None:
    """The last test: nothing of Stager is left."""
    machine.run(
        page_sample("uninstall.md", "sudo /opt/stager/.venv/bin/stager service uninstall"), user="ann"
    )
    machine.run(page_sample("uninstall.md", "id=$(sudo cat /var/lib/stager/instance_id)"), user="ann")
    rules = page_sample("uninstall.md", "for iptables in iptables ip6tables")
    assert rules == page_sample("root-helper.md", "for iptables in iptables ip6tables")
    machine.run(rules, user="ann")
    machine.run(page_sample("uninstall.md", "sudo umount"), user="ann")
    machine.run(page_sample("uninstall.md", "sudo rm -rf /opt/stager /etc/stager"), user="ann")
    assert machine.run("systemctl list-unit-files 'stager*' --no-legend || true") == ""
    assert machine.run("getent passwd stager || true") == ""
    assert machine.run("pgrep -af '[s]tager' || true") == ""
    assert machine.run("docker ps -aq; docker network ls -q --filter label=stager.installation") == ""
    assert "STAGER" not in machine.run("iptables-save; ip6tables-save")
    places = "/opt/stager /etc/stager /var/lib/stager* /usr/local/bin/stager /etc/systemd/system/stager*"
    assert machine.run(f"ls -d {places} 2>/dev/null || true") == ""


def test_without_systemd(forge: Forge) -> None:
    """By the commands that it prints then."""
    with bare_machine("trixie", boots=False) as machine:
        add_ann(machine)
        machine.knows(NAME, forge.address, forge.certificate)
        output = machine.run(page_sample("run-as-a-service.md", "curl -fsSL"), user="ann")
        commands = [line.strip() for line in output.splitlines() if line.startswith("  ")]
        assert len(commands) == 3, output
        for command in commands:  # what goes on in the background would keep a pipe open
            machine.run(f"{command} >>/tmp/said 2>&1")
        sign_in(machine, machine.run("cat /tmp/said"))
        assert machine.run("ls /etc/systemd/system | grep -c stager || true") == "0\n"


def test_the_quick_setup_in_a_clone(forge: Forge) -> None:
    """The README's prerequisites, then its three commands and `stager serve`."""
    with bare_machine("bookworm") as machine:
        add_ann(machine)
        machine.run(page_sample("README.md", "sudo apt-get update"), user="ann", USER="ann")
        machine.knows(NAME, forge.address, forge.certificate)
        machine.run(f"git clone -q https://{NAME}/stager.git", user="ann")
        output = machine.run(f"cd stager && {page_sample('README.md', 'python3 -m venv .venv')}", user="ann")
        assert "/login/link?secret=" in output
        assert "Stager is running" in output
