"""The catalogue: which images it knows, and what it completes."""

from __future__ import annotations

import re

import pytest

from stager.domain.catalogue import CATALOGUE, Entry, find, full_image, is_allowed
from stager.domain.service import (
    Mount,
    ServiceCheck,
    ServiceSpec,
    generated,
    provided,
    with_generated,
)


def entry(image: str) -> Entry:
    found = find(image)
    assert found is not None
    return found


def completed(name: str, image: str, **variables: str) -> ServiceSpec:
    return entry(image).complete(ServiceSpec(name, image=image, variables=variables))


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("postgres", "postgres"),
        ("postgres:16", "postgres"),
        ("postgres:16-alpine@sha256:" + "0" * 64, "postgres"),
        ("docker.io/library/postgres:16", "postgres"),
        ("registry.example.org:5000/library/postgres:16", "postgres"),
        ("localhost/postgres", "postgres"),
        ("pgvector/pgvector:pg16", "postgres"),
        ("mariadb:11", "mysql"),
        ("mysql", "mysql"),
        ("redis:7-alpine", "redis"),
        ("valkey/valkey:8", "redis"),
        ("valkey", "redis"),
        ("rabbitmq:3-management", "rabbitmq"),
        ("maildev:2", "mail"),
        ("axllent/mailpit", "mail"),
    ],
)
def test_images_are_recognised(image: str, kind: str) -> None:
    assert entry(image).kind == kind


@pytest.mark.parametrize("image", ["acme/postgres", "postgres/x", "postgresql", "", "shop", "redis-ui:1"])
def test_others_arent(image: str) -> None:
    assert find(image) is None


def test_short_names_stand_for_the_image_on_docker_hub() -> None:
    assert full_image("maildev") == "maildev/maildev"
    assert full_image("valkey:8") == "valkey/valkey:8"
    assert full_image("postgres:16") == "postgres:16"


@pytest.mark.parametrize(
    ("image", "folder"),
    [
        ("postgres:16", "/var/lib/postgresql/data"),
        ("postgres:9.6-alpine", "/var/lib/postgresql/data"),
        ("postgis/postgis:16-3.4", "/var/lib/postgresql/data"),
        ("pgvector/pgvector:pg17", "/var/lib/postgresql/data"),
        ("timescale/timescaledb:latest-pg16", "/var/lib/postgresql/data"),
        ("pgvector/pgvector:0.8.0-pg17", "/var/lib/postgresql/data"),
        ("postgres:18", "/var/lib/postgresql"),
        ("postgres", "/var/lib/postgresql"),
        ("postgres:alpine", "/var/lib/postgresql"),
    ],
)
def test_the_data_folder_of_postgresql_depends_on_its_version(image: str, folder: str) -> None:
    assert completed("db", image).mounts == (Mount(folder, volume="db-data"),)


def test_what_the_service_declares_has_precedence() -> None:
    check = ServiceCheck(port=1)
    spec = ServiceSpec(
        "db",
        image="postgres:16",
        variables={"POSTGRES_DB": "shop"},
        check=check,
        mounts=(Mount("/var/lib/postgresql/data", volume="mine"),),
        memory=1,
        stop_grace_period=0.0,
    )
    found = entry("postgres:16").complete(spec)
    assert (found.check, found.mounts, found.memory, found.stop_grace_period) == (check, spec.mounts, 1, 0.0)
    assert found.variables["POSTGRES_DB"] == found.provides["PGDATABASE"] == "shop"
    assert found.provides["DATABASE_URL"].endswith("@db:5432/shop")


def test_a_mount_above_the_data_folder_counts_and_one_beside_it_doesnt() -> None:
    above, beside = Mount("/var/lib", volume="a"), Mount("/var/lib/mysql-files", volume="b")
    assert entry("mysql").complete(ServiceSpec("db", image="mysql", mounts=(above,))).mounts == (above,)
    assert entry("mysql").complete(ServiceSpec("db", image="mysql", mounts=(beside,))).mounts == (
        beside,
        Mount("/var/lib/mysql", volume="db-data"),
    )


def test_passwords_are_placeholders_until_the_container_is_made() -> None:
    found = completed("database", "postgres:16")
    assert found.variables["POSTGRES_PASSWORD"] == generated("POSTGRES_PASSWORD")
    url = with_generated(found.provides["DATABASE_URL"], lambda name: f"<{name}>")
    assert url == "postgresql://app:<POSTGRES_PASSWORD>@database:5432/app"
    mysql = completed("db", "mariadb:11").variables
    assert with_generated(mysql["MYSQL_PASSWORD"], str) != with_generated(mysql["MYSQL_ROOT_PASSWORD"], str)


def test_a_given_password_is_quoted_in_the_url_only() -> None:
    found = completed("db", "postgres:16", POSTGRES_PASSWORD="p@ss/{word}:1")
    assert found.provides["PGPASSWORD"] == "p@ss/{word}:1"
    assert found.provides["DATABASE_URL"] == "postgresql://app:p%40ss%2F%7Bword%7D%3A1@db:5432/app"


def test_every_entry_provides_its_url_under_both_names() -> None:
    for each in CATALOGUE:
        found = each.complete(ServiceSpec("my-service", image=each.images[0]))
        assert found.provides["MY_SERVICE_URL"] == found.provides[each.url]
        assert re.match(r"[a-z]+://[^/]*my-service:\d+", found.provides[each.url])
        assert all("{" not in value for value in found.provides.values())


def test_a_mail_trap_has_a_page_of_its_own_and_no_data() -> None:
    found = completed("mail", "maildev")
    assert (found.image, found.port, found.mounts) == ("maildev/maildev", 1080, ())
    assert found.provides["SMTP_URL"] == "smtp://mail:1025"


def test_the_databases_are_stateful() -> None:
    assert all(completed("a", each.images[0]).is_stateful == (each.kind != "mail") for each in CATALOGUE)


class TestProvided:
    def test_of_two_databases_the_first_counts(self) -> None:
        found = provided([completed("a", "postgres:16"), completed("b", "mysql")])
        assert found["DATABASE_URL"].startswith("postgresql://")
        assert found["A_URL"] == found["DATABASE_URL"]
        assert found["B_URL"].startswith("mysql://")
        assert found["DB_HOST"] == "a"

    def test_but_a_service_has_the_url_of_its_own_name(self) -> None:
        found = provided([completed("a", "postgres:16"), completed("database", "mysql")])
        assert found["DATABASE_URL"].startswith("mysql://")

    def test_no_service_provides_nothing(self) -> None:
        assert provided([ServiceSpec("web"), ServiceSpec("a", image="x")]) == {}


@pytest.mark.parametrize(
    ("image", "patterns", "expected"),
    [
        ("postgres:16", ["catalogue"], True),
        ("docker.io/library/postgres@sha256:" + "0" * 64, ["catalogue"], True),
        ("maildev", ["catalogue"], True),
        ("registry.example.org/postgres:16", ["catalogue"], False),
        ("acme/postgres", ["catalogue"], False),
        ("postgres:16", [], False),
        ("elasticsearch:8.15.0", ["elasticsearch:8.*"], True),
        ("elasticsearch:7.0.0", ["elasticsearch:8.*"], False),
        ("elasticsearch:7.0.0", ["elasticsearch"], True),
        ("docker.io/library/elasticsearch", ["elasticsearch"], True),
        ("elasticsearch.evil.example/x", ["elasticsearch*"], False),
        ("ghcr.io/acme/shop:1", ["ghcr.io/acme/*"], True),
        ("ghcr.io/acme/shop/deep:1", ["ghcr.io/acme/*"], False),
        ("ghcr.io/acme", ["ghcr.io/acme/*"], False),
        ("x:1@sha256:" + "0" * 64, ["x:1"], True),
    ],
)
def test_which_images_a_list_allows(image: str, patterns: list[str], expected: bool) -> None:
    assert is_allowed(image, patterns) is expected
