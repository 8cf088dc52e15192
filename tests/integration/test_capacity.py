"""Limits on a real machine: a preview waits where it can be seen, starts by itself, and survives kill -9."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.person import Person
from tests.integration.stager import PASSWORD, USER, StagerUnderTest
from tests.unit.docs.written import page_sample, typed

pytestmark = pytest.mark.docker

HTML = {"Accept": "text/html"}


def assert_queued(stager: StagerUnderTest, name: str, place: int) -> None:
    found = stager.wait_for(name, "queued")
    assert (found["place"], found["reason"]) == (place, "queued")
    assert f"This preview is number {place} in the queue." in found["message"]


@pytest.fixture
def full(make_stager: MakeStager) -> StagerUnderTest:
    """With two previews, as many as may run."""
    stager = make_stager(capacity={"max_running": 2, "min_idle": "1h"})
    for name in ("one", "two"):
        stager.launched(name)
    return stager


@pytest.fixture
def person(tmp_path: Path, full: StagerUnderTest) -> Iterator[Person]:
    folder = tmp_path / "person"
    folder.mkdir()
    person = Person(folder, full.url)
    person.sign_in(USER, PASSWORD)
    yield person
    person.leave()


def test_waits_and_starts_by_itself(full: StagerUnderTest) -> None:
    answer = full.launch("three")
    assert answer.status_code == 503
    assert "The limit of 2 running previews is reached." in answer.text
    assert full.launch("four").status_code == 503
    assert_queued(full, "three", 1)
    assert_queued(full, "four", 2)
    page = full.get("three", **HTML)
    assert page.status_code == 503
    assert "queue" in page.text
    assert len(full.containers()) == 2

    full.restart()
    assert_queued(full, "three", 1)
    assert_queued(full, "four", 2)
    assert full.kill("one").text == "ok"
    assert full.wait_for("three", "live")["place"] == 0
    assert_queued(full, "four", 1)


def test_the_pages_command(full: StagerUnderTest, person: Person) -> None:
    assert full.launch("three").status_code == 503
    [(command, lines)] = typed(page_sample("limit-what-previews-use.md", "$ stager capacity"))
    printed = person.run(*command.split()[1:]).stdout
    for line in lines:
        assert line in printed.splitlines()
    assert "place 1: The limit of 2 running previews is reached." in printed

    found = full.api("/capacity")
    assert found["machine"]["free_disk"] > 0
    memory = {each["name"]: each["memory"] for each in found["previews"]}
    assert memory["one"] > 1 << 20
    assert memory["three"] == 0


def test_the_least_recently_visited_one_sleeps_for_a_new_one(make_stager: MakeStager) -> None:
    stager = make_stager(capacity={"max_running": 1, "min_idle": "1s"})
    stager.launched("one")
    time.sleep(1.5)
    stager.launched("two")
    assert stager.wait_for("one", "asleep")["place"] == 0

    stager.restart()
    assert stager.get("one").status_code == 200  # held while it wakes
    stager.wait_for("two", "asleep")
    assert stager.wait_for("one", "live")
    log = [json.loads(line) for line in stager.log.read_text().splitlines() if line.startswith("{")]
    asleep = [line for line in log if line["event"] == "capacity" and line["action"] == "sleep"]
    assert all(
        "to make room. The limit of 1 running preview is reached." in line["reason"] for line in asleep
    )


def test_a_disk_without_room(make_stager: MakeStager) -> None:
    stager = make_stager(capacity={"free_disk": "900t"})
    assert "short of disk space" in stager.launch("one").text
    stager.more["capacity"] = {"free_disk": "1m"}
    stager.configure()
    stager.restart()
    stager.wait_for("one", "live")
