"""Snapshots of a real PostgreSQL: taken, masked, cloned, loaded from a dump; Stager is killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.docker_socket import labels_of_containers
from tests.integration.conftest import MakeStager
from tests.integration.images import service_image
from tests.integration.stager import StagerUnderTest, docker, until

MASK = (
    'psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"'
    " -c \"UPDATE people SET email = 'person' || id || '@example.org'\""
)
PEOPLE = """
CREATE TABLE people (id int PRIMARY KEY, email text);
INSERT INTO people SELECT n, 'real' || n || '@customer.test' FROM generate_series(1, 1000) AS n;
"""


def application(**settings: Any) -> dict[str, Any]:
    return {
        "services": {"db": service_image("postgres")},
        "volumes": {"db-data": "clone"},
        "memory": "512m",
        "private": False,
        **settings,
    }


@pytest.fixture
def stager(make_stager: MakeStager) -> Iterator[StagerUnderTest]:
    stager = make_stager(images={"shop": application()})
    yield stager
    _remove_all(stager)


@pytest.fixture
def masked(make_stager: MakeStager) -> Iterator[StagerUnderTest]:
    stager = make_stager(images={"shop": application(data={"mask": {"db": MASK}})})
    yield stager
    _remove_all(stager)


def _remove_all(stager: StagerUnderTest) -> None:
    for snapshot in stager.api("/snapshots"):
        stager.api(f"/snapshots/{snapshot['id']}", "DELETE")
    stager.empty()
    until(lambda: not stager.volumes(), "no volume is left", 90)
    assert saved(stager) == set()


def saved(stager: StagerUnderTest) -> set[str]:
    """What the state folder has of snapshots."""
    folder = stager.state / "snapshots"
    return {each.name for each in folder.iterdir()} if folder.exists() else set()


def database(stager: StagerUnderTest, name: str) -> str:
    """The container of a preview's newest running database."""
    environment = stager.environment(name)["id"]
    filters = (f"label=stager.environment={environment}", "label=stager.service=db", "status=running")
    found = labels_of_containers(*filters)
    return max(found, key=lambda each: int(found[each]["stager.generation"]))


def sql(container: str, command: str) -> str:
    psql = f'psql -v ON_ERROR_STOP=1 -At -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "{command}"'
    return docker("exec", container, "sh", "-c", psql)


def fill(stager: StagerUnderTest, name: str = "main") -> str:
    """Launch a preview whose database has people; the id of its environment."""
    stager.launched(name, VERSION="1")
    sql(database(stager, name), PEOPLE.replace("\n", " "))
    return str(stager.environment(name)["id"])


def begin(stager: StagerUnderTest, **body: str) -> dict[str, Any]:
    found: dict[str, Any] = stager.api("/snapshots", "POST", json={"app": "shop", **body})
    return found


def ended(stager: StagerUnderTest, snapshot: dict[str, Any]) -> dict[str, Any]:
    """The snapshot, once it is no longer being made."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = stager.api(f"/snapshots/{snapshot['id']}")
        return found if found["state"] != "making" else None

    return until(look, "the snapshot is made", 120)


def take(stager: StagerUnderTest, **body: str) -> dict[str, Any]:
    found = ended(stager, begin(stager, **body))
    assert found["state"] == "ready", found
    return found


def test_a_preview_starts_with_the_rows_of_another_and_each_push_with_them_again(
    stager: StagerUnderTest,
) -> None:
    first = fill(stager)
    snapshot = take(stager, preview=first, name="base")
    assert snapshot["images"] == {"db": service_image("postgres")}
    assert [each["volume"] for each in snapshot["volumes"]] == ["db-data"]
    stager.wait_for("main", "live")

    stager.launched("feature", VERSION="1")
    own = database(stager, "feature")
    assert sql(own, "SELECT count(*) FROM people") == "1000"
    sql(own, "DELETE FROM people WHERE id > 10")
    assert sql(database(stager, "main"), "SELECT count(*) FROM people") == "1000"

    # A push that fails: the old revision stays, on its own data.
    assert "exited with exit code 1" in stager.launch("feature", VERSION="2", EXIT="1").text
    assert stager.get("feature").text == "feature 1"
    until(lambda: sql(own, "SELECT count(*) FROM people") == "10", "the old generation keeps its data")

    stager.launched("feature", VERSION="3")
    assert sql(database(stager, "feature"), "SELECT count(*) FROM people") == "1000"
    until(lambda: len(stager.containers()) == 4, "the old generations are removed")
    until(lambda: len(stager.volumes()) == 2, "and their volumes")


def test_masked_data_and_a_dump(masked: StagerUnderTest) -> None:
    first = fill(masked)
    snapshot = take(masked, preview=first)
    assert snapshot["is_masked"]
    masked.launched("feature", VERSION="1")
    emails = "SELECT count(*) FROM people WHERE email LIKE '%customer%'"
    assert sql(database(masked, "feature"), emails) == "0"
    assert sql(database(masked, "main"), emails) == "1000"

    answer = masked.api(
        "/snapshots/restore?app=shop&service=db&file_name=people.sql",
        "POST",
        content=PEOPLE.encode(),
        headers={"Content-Type": "application/octet-stream"},
    )
    loaded = ended(masked, answer)
    assert (loaded["state"], loaded["is_masked"]) == ("ready", True), loaded
    masked.launched("restored", VERSION="1")
    assert sql(database(masked, "restored"), "SELECT count(*) FROM people") == "1000"
    assert sql(database(masked, "restored"), emails) == "0"


def test_a_reset_replaces_what_is_kept_once_the_new_one_serves(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": application(volumes={"db-data": "keep"})})
    first = fill(stager)
    stager.api(f"/environments/{first}/reset", "POST")
    until(lambda: stager.environment("main")["generation"] == 2, "the reset is requested")
    stager.wait_for("main", "live")
    tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'people'"
    until(lambda: sql(database(stager, "main"), tables) == "0", "the database is empty")
    until(lambda: len(stager.volumes()) == 1, "the old volume is removed")
    _remove_all(stager)


@pytest.mark.parametrize("moment", ["Copying", "Masking"])
def test_killed_while_a_snapshot_is_made(masked: StagerUnderTest, moment: str) -> None:
    first = fill(masked)
    snapshot = begin(masked, preview=first)

    def look() -> bool:
        found = masked.api(f"/snapshots/{snapshot['id']}")
        return str(found["progress"]).startswith(moment) or found["state"] != "making"

    until(look, f"it is {moment}")
    masked.restart()
    found = ended(masked, snapshot)
    assert found["state"] in {"failed", "ready"}
    if found["state"] == "failed":
        assert found["reason"] == "snapshot-interrupted"
        until(lambda: not saved(masked), "its files are removed")
    until(lambda: len(masked.containers()) == 2, "no workbench is left")
    masked.wait_for("main", "live")
    assert sql(database(masked, "main"), "SELECT count(*) FROM people") == "1000"

    again = take(masked, preview=first)
    assert again["is_masked"]
    masked.launched("feature", VERSION="1")
    emails = "SELECT count(*) FROM people WHERE email LIKE '%customer%'"
    assert sql(database(masked, "feature"), emails) == "0"
