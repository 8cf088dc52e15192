"""What a database is created from if the application wants relaxed durability."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stager.control.reconciler.instance_specs import spec_of
from stager.control.reconciler.variables import Launch
from stager.domain import catalogue
from stager.domain.deployment import DeployedService
from stager.domain.service import ServiceSpec
from stager.settings.sections.applications import App
from tests.unit.docs.example import a_live_deployment, an_environment


def command(
    image: str = "postgres:16", durability: str = "relaxed", fresh: str = "db-data", **declared: object
) -> tuple[str, ...] | None:
    """The command of the database's container."""
    block = {"port": 80, "data": {"durability": durability}}
    app = App.model_validate(block).named("shop").application("shop")
    entry = catalogue.find(image)
    spec = ServiceSpec("db", image=image, **declared)  # type: ignore[arg-type]
    spec = entry.complete(spec) if entry else spec
    db = DeployedService(spec, "sha256:1", fresh_volumes=frozenset({fresh} if fresh else ()))
    deployment = replace(a_live_deployment(), services=(db,))
    return spec_of(Launch(an_environment(None), deployment, app, {}, b"key"), db).container.command


def test_a_database_of_one_generation_is_relaxed() -> None:
    assert command() == (
        "postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
    )  # fmt: skip
    for image, server in (("mariadb:11", "mariadbd"), ("mysql:8", "mysqld")):
        assert (command(image) or ())[:2] == (server, "--innodb-flush-log-at-trx-commit=0")


@pytest.mark.parametrize(
    "others",
    [
        {"durability": "full"},
        {"fresh": ""},
        {"fresh": "another"},
        {"image": "redis:7"},
        {"image": "acme/database"},
    ],
)
def test_others_keep_the_command_of_the_image(others: dict[str, str]) -> None:
    assert command(**others) is None


def test_a_command_of_its_own_stays() -> None:
    assert command(command=("postgres", "-c", "fsync=on")) == ("postgres", "-c", "fsync=on")
