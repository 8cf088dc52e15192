"""The guide to a database elsewhere, executed as written with a real PostgreSQL; Stager killed meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import MakeStager
from tests.integration.images import service_image
from tests.integration.stager import StagerUnderTest, docker, until
from tests.unit.docs.written import page_sample

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "external-database.md"
BASE = "CREATE TABLE items (name text); INSERT INTO items VALUES ('Tea'); GRANT ALL ON items TO PUBLIC;"

pytestmark = pytest.mark.docker


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


class Server:
    """A PostgreSQL server. Its `psql` is a program in `folder`, which the hooks find by their `PATH`."""

    def __init__(self, folder: Path) -> None:
        self.container = docker(
            "run", "--detach", "--env", "POSTGRES_HOST_AUTH_METHOD=trust", service_image("postgres")
        )
        program = folder / "psql"
        program.write_text(f'#!/bin/sh\nexec docker exec --interactive {self.container} psql "$@"\n')
        program.chmod(0o755)
        until(lambda: self.tried("SELECT 1") == "1", "PostgreSQL answers")

    def tried(self, statement: str, database: str = "postgres", user: str = "postgres") -> str:
        """What a statement prints; empty if it fails."""
        url = f"postgresql://{user}@localhost/{database}"
        command = ["docker", "exec", self.container, "psql", url, "--no-psqlrc", "-qtAc", statement]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def databases(self) -> set[str]:
        return set(self.tried("SELECT datname FROM pg_database WHERE datname LIKE 'preview%'").split())

    def roles(self) -> set[str]:
        return set(self.tried("SELECT rolname FROM pg_roles WHERE rolname LIKE 'preview%'").split())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        made = Server(folder)
        for statement in blocks("sql")[0].splitlines():
            made.tried(statement)
        made.tried(BASE, "shop_base")
        yield made
        docker("rm", "--force", "--volumes", made.container)


@pytest.fixture
def stager(make_stager: MakeStager, server: Server) -> StagerUnderTest:
    """A Stager with the configuration of the page, of an application that is there already."""
    hooks = yaml.safe_load(blocks("yaml")[0])["images"]["shop"]["server_hooks"]
    stager = make_stager(start=False, images={"shop": {"server_hooks": hooks}})
    script = stager.folder / "database.sh"
    script.write_text(blocks("sh")[0].replace("db.example.org", "localhost"))
    stager.start()
    return stager


def prepare(stager: StagerUnderTest) -> None:
    """The commands of the page but the last one."""
    *commands, launch = page_sample("external-database.md", "chmod +x").splitlines()
    assert launch == "stager launch shop my-branch"
    for command in commands:
        subprocess.run(["bash", "-ec", command], cwd=stager.folder, env=environ(), check=True)


def environ() -> dict[str, str]:
    """The environment variables of commands, with which they find `stager`."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def variables(stager: StagerUnderTest) -> dict[str, str]:
    [container] = stager.containers()
    listed = stager.inspect(container)["Config"]["Env"]
    return dict(entry.split("=", 1) for entry in listed)


def test_as_written(stager: StagerUnderTest, server: Server) -> None:
    prepare(stager)
    command = page_sample("external-database.md", "chmod +x").splitlines()[-1]
    launched = subprocess.run(
        ["bash", "-ec", command], cwd=stager.folder, capture_output=True, text=True, check=False,
        env={**environ(), "STAGER_ENDPOINT": stager.url, "STAGER_TOKEN": token(stager)},
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr

    [database] = server.databases()
    url = variables(stager)["DATABASE_URL"]
    assert re.fullmatch(rf"postgresql://{database}:[0-9a-f]{{48}}@localhost/{database}", url)
    assert server.tried("SELECT name FROM items", database, database) == "Tea"
    server.tried("INSERT INTO items VALUES ('Cake')", database, database)

    stager.launched("other")
    [other] = server.databases() - {database}
    assert server.tried("SELECT name FROM items", other, other) == "Tea"
    stager.restart()
    stager.launched("my-branch")
    assert server.databases() == {database, other}
    for name in ("my-branch", "other"):
        stager.kill(name)
    until(lambda: not server.databases() and not server.roles(), "no database and no role is left", 90)
    assert url.split(":")[2].split("@")[0] not in stager.log.read_text()


def token(stager: StagerUnderTest) -> str:
    """A token for the command line."""
    made: str = stager.api("/tokens", "POST", json={"label": "test", "role": "developer"})["token"]
    return made


def test_killed_while_a_hook_runs(stager: StagerUnderTest, server: Server) -> None:
    """`kill -9` while `create` and while `drop` run. The server completes their statements."""
    prepare(stager)
    script = stager.folder / "database.sh"
    text = script.read_text()
    script.write_text(text.replace("SELECT pg_advisory", "SELECT pg_sleep(3);\nSELECT pg_advisory"))

    launch = stager.api("/environments", "POST", json={"image_name": "shop", "container_name": "x"})
    until(lambda: server.tried(SLEEPING) != "0", "the hook runs")
    stager.kill9()
    stager.start()
    stager.wait_for("x", "live")
    [database] = server.databases()

    stager.api(f"/environments/{launch['id']}", "DELETE")
    until(lambda: server.tried(SLEEPING) != "0", "the hook runs")
    stager.kill9()
    stager.start()
    until(lambda: not server.databases() and not server.roles(), "no database and no role is left", 90)
    assert database


SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"


def test_one_that_fails_is_shown_and_repeated(stager: StagerUnderTest, server: Server) -> None:
    prepare(stager)
    environment = stager.api("/environments", "POST", json={"image_name": "shop", "container_name": "x"})
    stager.wait_for("x", "live")
    script = stager.folder / "database.sh"
    text = script.read_text()
    script.write_text("#!/bin/sh\necho 'the server is away' >&2\nexit 1\n")
    stager.api(f"/environments/{environment['id']}", "DELETE")

    found = until(lambda: stager.environment("x")["warnings"], "the failure is shown")
    assert "before_kill ended with exit code 1. It printed: the server is away" in found[0]
    assert "the server is away" in stager.preview_page(environment["id"])
    doctor = stager.api("/doctor")
    assert any("the server is away" in finding["message"] for finding in doctor)
    stager.configure(images={"other": {}})
    stager.restart()
    script.write_text(text)
    until(lambda: not server.databases(), "the database is removed", 90)
