"""Compose files with real databases, caches and brokers, started by `stager up` and by `docker compose up`:
the same services with the same commands, variables, volumes and names, all of them healthy."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.images import ServiceKind, base_image, service_image
from tests.integration.stager import until
from tests.integration.test_compose import OURS, Compose, inspected
from tests.integration.up import Up
from tests.unit.project.compose.cases import CASES

pytestmark = pytest.mark.docker

PATIENCE = 180
PROGRAM = """\
#!/usr/bin/env python3
import http.server, json, os, socket, sys, threading

if "migrate" in sys.argv:
    sys.exit()


def reached(place):
    name, port = place.split(":")
    try:
        socket.create_connection((name, int(port)), timeout=3).close()
    except socket.gaierror:
        return "unknown"
    except OSError:
        return "closed"
    return "open"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        places = self.path.partition("?")[2].split(",")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({place: reached(place) for place in places if place}).encode())


for port in (3000, 8000):
    serve = http.server.ThreadingHTTPServer(("", port), Handler).serve_forever
    threading.Thread(target=serve).start()
"""
"""Stands for whatever an image runs: serves on the usual ports, and ends at once as a migration."""
PING = "mariadb-admin ping --silent --host=127.0.0.1 --user=shop --password=shop"
PROGRAMS = ("celery", "gunicorn", "node", "npm", "python")
DOCKERFILE = """\
FROM {base} AS base
WORKDIR /app
COPY program /usr/local/bin/program
RUN chmod +x /usr/local/bin/program{links}
COPY . .
FROM base AS build
FROM base AS runtime
CMD ["node", "dist/main.js"]
"""
OWN = """\
services:
  web:
    build: .
    ports: ["8000"]
    environment:
      AMQP_URL: amqp://shop:secret@queue:5672/%2F
      REDIS_URL: redis://cache/0
    depends_on:
      queue: {condition: service_healthy}
      reports: {condition: service_healthy}
      cache: {condition: service_started}
  queue:
    image: rabbitmq:3-management
    environment: [RABBITMQ_DEFAULT_USER=shop, RABBITMQ_DEFAULT_PASS=secret]
    healthcheck:
      test: rabbitmq-diagnostics -q check_port_listener 5672
      interval: 2s
      timeout: 30s
      retries: 60
    mem_limit: 256m
    networks: {default: {aliases: [broker]}}
  cache:
    image: redis:7-alpine
    command: redis-server --save "" --maxmemory 8mb
    mem_limit: 32m
  reports:
    image: postgres:16
    environment: {POSTGRES_USER: reports, POSTGRES_PASSWORD: secret, POSTGRES_DB: reports}
    volumes: ["reports:/var/lib/postgresql/data", "./schema.sql:/docker-entrypoint-initdb.d/schema.sql:ro"]
    healthcheck: {test: [CMD-SHELL, "pg_isready -h 127.0.0.1 -U reports"], interval: 1s, retries: 60}
    mem_limit: 128m
volumes: {reports: }
"""


@dataclass(frozen=True)
class Project:
    """A Compose file that can run here.

    Args:
        services: that run to the end of the test, with the port of each; those that clients connect to.
        jobs: services that end.
        environment: the `.env` that a user of Compose writes.
    """

    files: Mapping[str, str]
    services: Mapping[str, int]
    images: tuple[ServiceKind, ...]
    jobs: tuple[str, ...] = ()
    environment: str = ""
    names: tuple[str, ...] = field(default=())

    @property
    def places(self) -> str:
        ports = {name: port for name, port in self.services.items() if port}
        return ",".join([*(f"{name}:{port}" for name, port in ports.items()), *self.names, "other:80"])


def case(name: str) -> Mapping[str, str]:
    """The files of one of the cases of the reader's tests."""
    return CASES[name].files


PROJECTS = {
    "django-celery-redis": Project(
        case("django-celery-redis"),
        {"web": 8000, "worker": 0, "postgres": 5432, "redis": 6379},
        ("postgres", "redis"),
        environment="SECRET_KEY=any\nPOSTGRES_PASSWORD=any\nPOSTGRES_DB=shop\n"
        "DATABASE_URL=postgres://postgres:any@postgres:5432/shop\nREDIS_URL=redis://redis:6379/0\nDEBUG=False\n",
    ),
    "django-postgres": Project(case("django-postgres"), {"web": 8000, "db": 5432}, ("postgres",)),
    "nest-mariadb-migrations": Project(
        case("nest-mariadb-migrations"), {"api": 3000, "mariadb": 3306}, ("mariadb",), jobs=("migrate",)
    ),
    "queue-cache-reports": Project(
        {"compose.yaml": OWN, "schema.sql": "CREATE TABLE sold (what text);\n"},
        {"web": 8000, "queue": 5672, "cache": 6379, "reports": 5432},
        ("rabbitmq", "redis", "postgres"),
        names=("broker:5672",),
    ),
}


def written(project: Project, folder: Path) -> Path:
    """The project's files, with images that exist here."""
    links = "".join(f" && ln -sf program /usr/local/bin/{name}" for name in PROGRAMS)
    for path, text in project.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(_possible(text, project) if "compose" in path else text)
    (folder / "Dockerfile").write_text(DOCKERFILE.format(base=base_image("python"), links=links))
    (folder / "program").write_text(PROGRAM)
    (folder / "manage.py").write_text(PROGRAM)
    (folder / ".gitignore").write_text(".env\n")
    return folder


def _possible(text: str, project: Project) -> str:
    """A Compose file with images and programs that exist here, without ports of this machine, which may be
    taken, and without what Compose has only with Docker 25."""
    for kind in project.images:
        text = re.sub(rf"(image: ){kind}:[\w.-]+", rf"\g<1>{service_image(kind)}", text)
    text = text.replace("[CMD, healthcheck.sh, --connect, --innodb_initialized]", f"[CMD-SHELL, {PING}]")
    text = text.replace(", start_interval: 2s", "")
    return re.sub(r'"[\d.:]+:(\d+)"', r'"\1"', text).replace("published: 80, ", "")


@dataclass
class Both:
    """The project by Stager and by Compose."""

    project: Project
    up: Up
    compose: Compose


@pytest.fixture(params=list(PROJECTS))
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    project = PROJECTS[request.param]
    folder = written(project, tmp_path / "tide")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    if project.environment:
        (copy / ".env").write_text(project.environment)
    compose = Compose(copy)
    # Sockets go there, whose paths may only be short.
    with tempfile.TemporaryDirectory(prefix="up-") as states:
        up = Up(folder, Path(states))
        up.state.mkdir(mode=0o700, parents=True)
        (up.state / "instance_id").write_text(f"test-{secrets.token_hex(4)}")
        up.start()
        try:
            yield Both(project, up, compose)
        finally:
            print(up.said)
            if up.process and up.process.poll() is None:
                up.interrupt()
            compose.run("down", "--volumes", "--rmi", "local", "--timeout", "1")


def of_container(container: Mapping[str, Any]) -> dict[str, Any]:
    """What both have to agree on. Generated values are those of the `.env`."""
    config, host = container["Config"], container["HostConfig"]
    variables = dict(each.split("=", 1) for each in config["Env"])
    return {
        "command": config["Cmd"],
        "entrypoint": config["Entrypoint"],
        "user": config["User"],
        "working_dir": config["WorkingDir"],
        "variables": {
            name: re.sub(r"\b[0-9a-f]{32}\b", "any", value)
            for name, value in variables.items()
            if not name.startswith(OURS)
        },
        "volumes": sorted(
            each["Destination"]
            for each in container["Mounts"]
            if each["Type"] == "volume" and len(each["Name"]) < 64
        ),
        "tmpfs": sorted(host.get("Tmpfs") or {}),
    }


def reached(page: str) -> dict[str, str]:
    """What the main service reaches, once databases without a health check accept connections, too."""
    found: dict[str, str] = json.loads(page) if page.startswith("{") else {}
    return {} if "closed" in found.values() else found


def test_the_same_services_variables_names_and_health(both: Both) -> None:
    project, up, compose = both.project, both.up, both.compose
    main = next(iter(project.services))
    compose.run("up", "--detach", "--build", "--wait", *project.services)
    port = project.services[main]
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/?{project.places}').read().decode())"
    theirs = until(
        lambda: reached(compose.run("exec", "-T", main, "python3", "-c", script)), "Compose's page"
    )
    ours = until(lambda: reached(up.page(f"/?{project.places}")), "Stager's page", PATIENCE)
    assert ours == theirs
    assert set(ours.values()) == {"open", "unknown"}
    assert ours["other:80"] == "unknown"

    found = {each["Config"]["Labels"]["stager.service"]: each for each in map(inspected, up.containers())}
    assert found.keys() - set(project.jobs) == project.services.keys()
    for service in project.services:
        container = compose.container(service)
        health = container["State"].get("Health", {}).get("Status", "healthy")
        assert (health, found[service]["State"]["Status"]) == ("healthy", "running")
        assert of_container(found[service]) == of_container(container), service
        binds = [mount for mount in found[service]["Mounts"] if mount["Type"] == "bind"]
        assert binds == [], "nothing of the machine"
    for job in project.jobs:
        assert compose.container(job)["State"]["ExitCode"] == 0
    assert up.interrupt() == 0
    assert up.left() == []
