"""Snapshots that are made by a command, and from a dump of MariaDB, on real Docker."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.images import service_image
from tests.integration.stager import StagerUnderTest, docker, until
from tests.integration.test_snapshots import _remove_all, begin, database, ended, take

pytestmark = pytest.mark.docker

SEED = (
    "python3 -c \"import socket; s = socket.create_connection(('db', 6379));"
    " s.sendall(b'SET greeting hello\\r\\n'); assert s.recv(9) == b'+OK\\r\\n'\""
)
DUMP = """
CREATE TABLE people (id int PRIMARY KEY, email varchar(100), KEY (email)) ENGINE=InnoDB;
INSERT INTO people SELECT seq, CONCAT('real', seq, '@customer.test') FROM seq_1_to_1000;
"""
MASK = (
    'MYSQL_PWD="$MYSQL_PASSWORD" mariadb --user="$MYSQL_USER" "$MYSQL_DATABASE"'
    " --execute=\"UPDATE people SET email = CONCAT('person', id)\""
)


def application(kind: Any, **settings: Any) -> dict[str, Any]:
    return {
        "services": {"db": service_image(kind)},
        "volumes": {"db-data": "clone"},
        "memory": "768m",
        "private": False,
        **settings,
    }


def mariadb(container: str, command: str) -> str:
    client = 'MYSQL_PWD="$MYSQL_PASSWORD" mariadb -N -B -u "$MYSQL_USER" "$MYSQL_DATABASE"'
    return docker("exec", container, "sh", "-c", f'{client} --execute="{command}"')


def test_a_command_fills_the_data(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": application("redis")})
    snapshot = take(stager, run=SEED, name="seeded")
    assert snapshot["images"] == {"db": service_image("redis")}
    until(lambda: not stager.containers(), "its environment is removed")

    stager.launched("feature", VERSION="1")
    assert docker("exec", database(stager, "feature"), "redis-cli", "get", "greeting") == "hello"
    _remove_all(stager)


def test_a_command_that_fails_leaves_nothing(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": application("redis")})
    failed = ended(stager, begin(stager, run="echo no such table; exit 3"))
    assert (failed["state"], failed["reason"]) == ("failed", "seed-failed")
    assert "no such table" in "".join(failed["lines"])
    until(lambda: not stager.containers() and not stager.volumes(), "nothing is left")
    stager.launched("feature", VERSION="1")
    assert docker("exec", database(stager, "feature"), "redis-cli", "dbsize") == "0"
    _remove_all(stager)


def test_a_dump_of_mariadb(make_stager: MakeStager) -> None:
    stager = make_stager(
        images={"shop": application("mariadb", data={"mask": {"db": MASK}, "durability": "relaxed"})}
    )
    loaded = restored(stager, gzip.compress(DUMP.encode()), "people.sql.gz")
    assert (loaded["state"], loaded["is_masked"]) == ("ready", True), loaded

    for name in ("feature", "other"):
        stager.launched(name, VERSION="1")
        own = database(stager, name)
        assert mariadb(own, "SELECT count(*), sum(email LIKE '%customer%') FROM people") == "1000\t0"
        assert mariadb(own, "SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog") == "0\t0"
        assert mariadb(own, "CHECK TABLE people EXTENDED").split("\t")[-1] == "OK"
    mariadb(database(stager, "feature"), "DELETE FROM people WHERE id > 10")
    assert mariadb(database(stager, "other"), "SELECT count(*) FROM people") == "1000"

    broken = restored(stager, b"INSERT INTO nowhere VALUES (1);", "broken.sql")
    assert (broken["state"], broken["reason"]) == ("failed", "restore-failed")
    assert "nowhere" in "".join(broken["lines"])
    _remove_all(stager)


def restored(stager: StagerUnderTest, content: bytes, name: str) -> dict[str, Any]:
    """The snapshot that is made from a dump, ready or failed."""
    answer = stager.api(
        f"/snapshots/restore?app=shop&service=db&file_name={name}",
        "POST",
        content=content,
        headers={"Content-Type": "application/octet-stream"},
    )
    return ended(stager, answer)
