"""`stager explain`: what would run from a checkout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from stager.cli.explain import mount

Explain = Callable[..., Result]

COMPOSE = """\
services:
  web:
    build: {context: ., target: run}
    command: gunicorn shop
    ports: ["8000:8000"]
    environment: {PASSWORD: from-the-file, TOKEN: "${TOKEN}"}
    depends_on: {db: {condition: service_healthy}}
    volumes: ["uploads:/uploads", "./motd:/etc/motd:ro"]
    mem_limit: 256m
    cpus: 0.5
    tty: true
  db:
    image: postgres:16
    container_name: the-db
  mail: {image: maildev/maildev, ports: ["1080:1080"]}
volumes: {uploads: }
"""


@pytest.fixture
def explain(tmp_path: Path) -> Explain:
    """Writes files to a folder and explains it."""
    app = typer.Typer()
    mount(app)

    def run(files: Mapping[str, str], *options: str) -> Result:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return CliRunner().invoke(app, [str(tmp_path), *options])

    return run


def facts(result: Result) -> list[str]:
    """The lines of the output, with single spaces."""
    return [" ".join(line.split()) for line in result.output.splitlines()]


def test_a_compose_file(explain: Explain) -> None:
    files = {
        "compose.yaml": COMPOSE,
        "Dockerfile": "FROM a AS run\n",
        "motd": "",
        ".stager.yml": "compose: true\nvolumes: {uploads: fresh}\n",
    }
    result = explain(files)
    assert result.exit_code == 0
    assert facts(result) == [
        "compose.yaml: 3 services",
        "",
        "web (main)",
        "build: ., target run",
        "command: gunicorn shop",
        "variables: PASSWORD, TOKEN (generated)",
        "host: PREVIEW, to port 8000",
        "health: the image's own check; without one, 2 seconds without an exit",
        "waits for: db (healthy)",
        "volumes: uploads at /uploads (empty at each push)",
        "files: motd at /etc/motd",
        "limits: 256 MiB, 0.5 cores",
        "",
        "db",
        "image: postgres:16",
        "health: port 5432 accepts connections",
        "also known as: the-db",
        "",
        "mail",
        "image: maildev/maildev",
        "host: mail--PREVIEW, to port 1080",
        "health: port 1025 accepts connections",
        "",
        "Guessed:",
        "compose.yaml:2: web is the main service: the only one with ports besides databases and tools.",
        "compose.yaml:6: TOKEN isn't set; it gets a generated value.",
        "",
        "Without effect:",
        "compose.yaml:11: `tty` of a service has no effect: previews have no terminal.",
        "",
        "Not limited:",
        "Named volumes have no size limit, so code from a fork can fill the disk with them.",
    ]


def test_json_has_no_values(explain: Explain) -> None:
    result = explain({"compose.yaml": COMPOSE, "Dockerfile": "FROM a\n", "motd": ""}, "--json")
    assert result.exit_code == 0
    assert "from-the-file" not in result.output
    assert "\\u0000" not in result.output
    found: dict[str, Any] = json.loads(result.output)
    assert (found["runs"], found["main"], found["source"]) == (True, "web", "compose.yaml")
    web, db, _ = found["services"]
    assert web["variables"] == ["PASSWORD", "TOKEN"]
    assert web["host"] == "PREVIEW"
    assert web["depends_on"] == {"db": "healthy"}
    assert web["mounts"][0] == {
        "target": "/uploads",
        "volume": "uploads",
        "policy": "keep",
        "files": None,
        "read_only": False,
    }
    assert (db["image"], db["build"], db["host"]) == ("postgres:16", None, None)
    assert found["ignored"][0]["line"] == 11
    assert len(found["warnings"]) == 1


def test_a_compose_file_that_is_not_configured(explain: Explain) -> None:
    result = explain({"compose.yaml": "services: {app: {build: .}}", "Dockerfile": "FROM a\n"})
    assert result.exit_code == 0
    assert "A preview uses compose.yaml if `compose: true` is set here" in result.output


def test_the_repository_file_completes_a_compose_file(explain: Explain) -> None:
    stager = "compose: true\ncommand: serve\nport: 90\nhealth_path: /up\nenv: {A: b}\n"
    files = {"compose.yaml": COMPOSE, "Dockerfile": "FROM a\n", "motd": "", ".stager.yml": stager}
    shown = facts(explain(files))
    for line in (
        "command: serve",
        "host: PREVIEW, to port 90",
        "health: GET /up answers 2xx or 3xx",
        "variables: PASSWORD, TOKEN (generated), A",
    ):
        assert line in shown


def test_a_hook_in_a_service_that_does_not_run_is_refused(explain: Explain) -> None:
    stager = "services: {database: postgres:16}\nhooks: {after_launch: {service: databse, command: x}}\n"
    result = explain({"Dockerfile": "FROM a\nEXPOSE 80\n", ".stager.yml": stager})
    assert result.exit_code == 1
    assert 'A hook names the service "databse", which doesn\'t run.' in result.output
    assert "database" in result.output
    right = stager.replace("databse", "database")
    assert explain({"Dockerfile": "FROM a\nEXPOSE 80\n", ".stager.yml": right}).exit_code == 0


def test_profiles(explain: Explain) -> None:
    text = "services:\n  app: {build: .}\n  cron: {build: ., profiles: [cron]}\n"
    files = {"compose.yaml": text, "Dockerfile": "FROM a\n", ".stager.yml": "compose: true\nweb: app\n"}
    assert "1 service" in explain(files).output
    assert "2 services" in explain(files, "--profile", "cron").output


def test_refusals(explain: Explain) -> None:
    text = "services:\n  app:\n    image: a\n    privileged: true\n    volumes:\n      - /etc:/host\n"
    result = explain({"compose.yaml": text})
    assert result.exit_code == 1
    assert facts(result)[:4] == [
        "compose.yaml: this would not run",
        "",
        "Refused:",
        "compose.yaml:4: `privileged` of a service removes the container's confinement."
        " Remove it, or give the service a profile such as `profiles: [local]` to leave it out of previews.",
    ]
    data = json.loads(explain({}, "--json").output)
    assert [(each["file"], each["line"]) for each in data["refusals"]] == [
        ("compose.yaml", 4),
        ("compose.yaml", 6),
    ]
    assert data["runs"] is False


def test_services_of_the_repository_file(explain: Explain) -> None:
    stager = (
        "build: .\nport: 3000\nhealth_path: /up\n"
        "services:\n  db: postgres:16\n  worker: {command: bin/worker}\n"
        "  seed: {command: bin/seed, job: true}\n"
    )
    result = explain({".stager.yml": stager, "Dockerfile": "FROM a\nCMD x\n"})
    assert result.exit_code == 0, result.output
    shown = facts(result)
    assert shown[:8] == [
        ".stager.yml: 4 services",
        "",
        "web (main)",
        "build: .",
        "host: PREVIEW, to port 3000",
        "health: GET /up answers 2xx or 3xx",
        "waits for: db (healthy), seed (completed)",
        "",
    ]
    assert "build: the image of the main service" in shown
    assert "seed (job)" in shown
    assert any(line.startswith("variables: POSTGRES_USER, POSTGRES_PASSWORD (generated)") for line in shown)


def test_one_dockerfile(explain: Explain) -> None:
    result = explain({"Dockerfile": "FROM a\nEXPOSE 5000\n"})
    assert result.exit_code == 0
    assert facts(result)[:5] == [
        "the repository: 1 service",
        "",
        "web (main)",
        "build: .",
        "host: PREVIEW, to port 5000",
    ]


def test_a_framework(explain: Explain) -> None:
    result = explain({"requirements.txt": "flask\n", "app.py": "import flask\napp = flask.Flask(__name__)\n"})
    assert result.exit_code == 0
    assert "build: ., with a generated Dockerfile (Flask)" in facts(result)


def test_a_published_image_is_replaced(explain: Explain) -> None:
    text = "services: {app: {image: example/app, ports: [80]}}"
    files = {"compose.yaml": text, "Dockerfile": "FROM a\n", ".stager.yml": "compose: true\nweb: app\n"}
    assert "build: ." in facts(explain(files))


@pytest.mark.parametrize(
    ("files", "refusal"),
    [
        ({"README": ""}, "There is no Dockerfile in"),
        ({".stager.yml": "compose: true\n"}, ".stager.yml: There is no Compose file compose.yaml."),
        ({".stager.yml": "compose: a.yaml\n"}, "a.yaml: There is no file a.yaml in the repository."),
        ({".stager.yml": "a: 1\n\nprot: 80\n"}, ".stager.yml:3: prot: "),
        (
            {".stager.yml": "services:\n  a: {image: b, depends_on: {c: started}}\n"},
            ".stager.yml:2: services.a.depends_on",
        ),
        ({".stager.yml": "\0"}, ".stager.yml"),
    ],
)
def test_what_would_not_run(explain: Explain, files: dict[str, str], refusal: str) -> None:
    result = explain(files)
    assert result.exit_code == 1
    assert refusal in result.output
    assert json.loads(explain({}, "--json").output)["runs"] is False


def test_control_characters_are_not_printed(explain: Explain) -> None:
    text = 'services: {app: {image: a, command: ["\\e[31m"], environment: {"\\e[2J": x}}}'
    assert "\x1b" not in explain({"compose.yaml": text}).output


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    app = typer.Typer()
    mount(app)
    result = CliRunner().invoke(app, [str(tmp_path / "no")])
    assert result.exit_code == 1
    assert "can't be read: No such file or directory." in result.output
