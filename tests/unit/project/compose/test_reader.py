"""The Compose reader, one behaviour at a time."""

from __future__ import annotations

import pytest

from stager.domain.recipe import Recipe
from stager.domain.service import Condition, Mount, ServiceCheck, ServiceSpec, generated
from stager.project.compose import read
from tests.unit.project.conftest import MakeTree

COMMON = """\
services:
  web:
    build: .
    command: python manage.py runserver
    ports: ["${PORT:-8080}:8000"]
    volumes: [".:/code", "/code/node_modules"]
    env_file: .env
    environment: {DATABASE_URL: "postgres://app:${DB_PASSWORD}@db/app", DEBUG: 1}
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
    restart: unless-stopped
  migrate:
    build: .
    command: [python, manage.py, migrate]
    depends_on: [db]
  db:
    image: postgres:16
    ports: ["5432:5432"]
    volumes: ["pg:/var/lib/postgresql/data", "./init.sql:/docker-entrypoint-initdb.d/init.sql:ro"]
    environment: {POSTGRES_PASSWORD: "${DB_PASSWORD}"}
volumes:
  pg:
"""
FILES = {
    "Dockerfile": "FROM python\nWORKDIR /code\nCOPY . .\n",
    "init.sql": "",
    ".env.example": "SECRET_KEY=change-me\nDB_PASSWORD=\nTHEME=dark\n",
}


def test_a_common_file(tree: MakeTree) -> None:
    found = read(tree({"docker-compose.yml": COMMON, **FILES}))
    assert found
    assert found.stack
    assert found.refusals == ()
    assert found.path == "docker-compose.yml"
    password = generated("DB_PASSWORD")
    assert found.stack.main == "web"
    assert found.stack.services == (
        ServiceSpec(
            "web",
            build=Recipe(),
            command=("python", "manage.py", "runserver"),
            variables={
                "SECRET_KEY": generated("SECRET_KEY"),
                "DB_PASSWORD": password,
                "THEME": "dark",
                "DATABASE_URL": f"postgres://app:{password}@db/app",
                "DEBUG": "1",
            },
            port=8000,
            depends_on={"db": Condition.HEALTHY, "migrate": Condition.COMPLETED},
        ),
        ServiceSpec(
            "migrate",
            build=Recipe(),
            command=("python", "manage.py", "migrate"),
            depends_on={"db": Condition.STARTED},
            is_job=True,
        ),
        ServiceSpec(
            "db",
            image="postgres:16",
            variables={"POSTGRES_PASSWORD": password},
            check=ServiceCheck(port=5432),
            mounts=(
                Mount("/var/lib/postgresql/data", volume="pg"),
                Mount("/docker-entrypoint-initdb.d/init.sql", content="init.sql", is_read_only=True),
            ),
        ),
    )
    assert [str(each) for each in found.guesses] == [
        "docker-compose.yml:2: web is the main service: the only one with ports besides databases and tools.",
    ]
    assert [str(each) for each in found.proposals] == [
        "docker-compose.yml:7: .env isn't in the repository; its variables are those of .env.example."
        " Generated: SECRET_KEY, DB_PASSWORD."
    ]
    assert [str(each).split(":")[1] for each in found.ignored] == ["6", "12"]


BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        *("", "services", "services: []", "services: {web: 1}", "\t", "a: *b", "a: " + "[" * 10_000, BOMB),
        *("services: {web: {build: [1], ports: {a: 1}}}", "a: !!python/object:x.y {}", "a: &a [*a]"),
        *("services: {}\n---\nservices: {}", "x: 1\nx: 2", "? [a]\n: 1", 'a: "\\0"', "<<: 1", "services: {}"),
    ],
)
def test_a_broken_file(tree: MakeTree, text: str) -> None:
    found = read(tree({"compose.yaml": text}))
    assert found
    assert found.stack is None
    assert found.refusals
    assert all(each.place.file == "compose.yaml" for each in found.refusals)


def test_no_file(tree: MakeTree) -> None:
    assert read(tree({})) is None
