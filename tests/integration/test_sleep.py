"""Previews that sleep, on real Docker: they are paused and stopped, woken by requests, pushed to, killed, and
nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.conftest import MakeStager
from tests.integration.images import service_image
from tests.integration.load import Load
from tests.integration.person import Person
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, docker, until
from tests.unit.docs.written import page_sample, typed

SIZE = 10 << 20
"""Bytes of a large request."""
MANY = 500
ROWS = 20
PSQL = 'psql -v ON_ERROR_STOP=1 -qAt -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c'
ACKNOWLEDGED = "/var/lib/postgresql/data/acknowledged"
WRITES = f"""
n=0
while {PSQL} "insert into visits values ($n)"; do echo $n >> {ACKNOWLEDGED}; n=$((n+1)); done
"""


@pytest.fixture
def stager(shared_stager: StagerUnderTest) -> StagerUnderTest:
    return shared_stager


def states(stager: StagerUnderTest) -> set[str]:
    label = f"--filter=label=stager.installation={stager.installation}"
    return set(docker("ps", "--all", label, "--format", "{{.State}}").split())


def put_to_sleep(stager: StagerUnderTest, name: str = "test") -> dict[str, Any]:
    environment = stager.environment(name)
    stager.api(f"/environments/{environment['id']}/sleep", "POST")
    until(lambda: states(stager) == {"paused"}, "everything is paused")
    return environment


def runs(stager: StagerUnderTest) -> dict[str, str]:
    """When each container was started."""
    return {c: stager.inspect(c)["State"]["StartedAt"] for c in stager.containers()}


def count(stager: StagerUnderTest, event: str) -> int:
    lines = [json.loads(line) for line in stager.log.read_text().splitlines() if line.startswith("{")]
    return sum(line["event"] == event for line in lines)


def test_a_request_wakes_a_preview_body_and_all(stager: StagerUnderTest) -> None:
    stager.launched(VERSION="1")
    before = runs(stager)
    put_to_sleep(stager)
    assert stager.environment("test")["state"] == "asleep"

    answer = stager._client.post(f"{stager.url}/", content=b"x" * SIZE, headers={"Host": stager.host("test")})
    assert (answer.status_code, answer.text) == (200, f"test got {SIZE} bytes")
    assert runs(stager) == before
    assert states(stager) == {"running"}
    stager.wait_for("test", "live")


async def test_many_requests_make_one_wake(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": {"pids": 4 * MANY}})  # it has a thread for each request
    await asyncio.to_thread(stager.launched, VERSION="1")
    before = count(stager, "wake")
    await asyncio.to_thread(put_to_sleep, stager)
    connector, headers = aiohttp.TCPConnector(limit=0), {"Host": stager.host("test")}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask() -> tuple[int, str]:
            async with session.get(f"{stager.url}/") as answer:
                return answer.status, await answer.text()

        answers = await asyncio.gather(*(ask() for _ in range(MANY)))
    assert set(answers) == {(200, "test 1")}
    assert count(stager, "wake") == before + 1


async def test_requests_never_fail_while_it_falls_asleep_again_and_again(stager: StagerUnderTest) -> None:
    await asyncio.to_thread(stager.launched, VERSION="1")
    environment = await asyncio.to_thread(stager.environment, "test")
    async with Load(stager.url, stager.host("test"), ("/",)) as load:
        for _ in range(20):
            await asyncio.to_thread(stager.api, f"/environments/{environment['id']}/sleep", "POST")
            await asyncio.sleep(0.1)
    assert load.failures == []
    assert load.answers["test 1"] > 0


def test_a_launch_wakes_the_old_revision_and_a_broken_one_leaves_it_awake(stager: StagerUnderTest) -> None:
    stager.launched(VERSION="1")
    put_to_sleep(stager)
    answer = stager.launch(VERSION="2", EXIT="1")
    assert "exited with exit code 1" in answer.text
    assert stager.get("test").text == "test 1"

    put_to_sleep(stager)
    stager.launched(VERSION="3")
    assert stager.get("test").text == "test 3"
    until(lambda: states(stager) == {"running"} and len(stager.containers()) == 1, "one container is left")


def test_a_preview_that_ended_asleep_is_started_again(stager: StagerUnderTest) -> None:
    """As after a reboot, or a crash of dockerd."""
    stager.launched(VERSION="1")
    put_to_sleep(stager)
    docker("kill", *stager.containers())
    until(lambda: states(stager) == {"exited"}, "it has ended")
    assert stager.get("test").text == "test 1"
    stager.wait_for("test", "live")


def test_a_preview_that_is_restarted_asleep_is_paused_again(stager: StagerUnderTest) -> None:
    stager.launched(VERSION="1")
    put_to_sleep(stager)
    docker("restart", *stager.containers())
    until(lambda: states(stager) == {"paused"}, "it is paused again")
    assert stager.get("test").text == "test 1"


def test_who_may_not_see_it_doesnt_wake_it(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": {"private": {"password": "open sesame"}}})
    stager.launched(VERSION="1")
    put_to_sleep(stager)
    assert stager.get("test").status_code == 401
    assert states(stager) == {"paused"}
    assert stager.environment("test")["state"] == "asleep"


def test_a_sleeping_preview_is_removed(stager: StagerUnderTest) -> None:
    stager.launched(VERSION="1")
    put_to_sleep(stager)
    stager.kill("test")
    until(lambda: not (stager.containers() or stager.networks()), "nothing is left", 90)


def test_the_commands_as_written(stager: StagerUnderTest, tmp_path: Path) -> None:
    person = Person(tmp_path, stager.url)
    person.sign_in(USER, PASSWORD)
    stager.launched("my-branch")
    for command, lines in typed(page_sample("let-previews-sleep.md", "$ stager sleep")):
        ran = person.run(*command.split()[1:])
        said = (ran.stdout + ran.stderr).replace(f":{stager.port}", ":8000")
        assert (ran.returncode, said.splitlines()) == (0, lines)
    person.leave()


def test_an_idle_preview_is_paused_then_stopped_and_outlives_stager(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": {"sleep_after": "2s", "stop_after": "2s"}})
    stager.launched(VERSION="1")
    until(lambda: states(stager) == {"paused"}, "it is paused")
    stager.restart()
    until(lambda: states(stager) == {"exited"}, "it is stopped")
    stager.kill9()
    stager.start()
    assert stager.get("test").text == "test 1"
    assert states(stager) == {"running"}


class TestDatabase:
    @pytest.fixture
    def stager(self, make_stager: MakeStager) -> Iterator[StagerUnderTest]:
        services = {"db": {"image": service_image("postgres"), "memory": "256m"}}
        shop = {"services": services, "sleep_after": "never", "stop_after": "15s"}
        stager = make_stager(images={"shop": shop})
        yield stager
        stager.empty()

    def test_no_acknowledged_row_is_lost(self, stager: StagerUnderTest) -> None:
        """While it writes, it is paused, woken, paused and stopped."""
        stager.launched(VERSION="1")
        [database] = stager.containers("label=stager.service=db")
        self.run(database, f'{PSQL} "create table visits (n int primary key)"')
        docker("exec", "--detach", database, "sh", "-c", WRITES)
        until(lambda: self.rows(database) > ROWS, "some rows are written")
        put_to_sleep(stager)
        assert stager.get("test").text == "test 1"
        awake = self.rows(database)
        until(lambda: self.rows(database) > awake + ROWS, "it goes on to write")
        put_to_sleep(stager)
        until(lambda: states(stager) == {"exited"}, "it is stopped")
        assert stager.inspect(database)["State"]["ExitCode"] == 0
        assert stager.get("test").text == "test 1"
        written = int(self.run(database, f'{PSQL} "select count(*) from visits"'))
        assert written >= self.rows(database) > awake + ROWS

    @staticmethod
    def run(database: str, script: str) -> str:
        return docker("exec", database, "sh", "-c", script)

    def rows(self, database: str) -> int:
        """The rows that the database acknowledged."""
        return int(self.run(database, f"cat {ACKNOWLEDGED} 2>/dev/null | wc -l"))
