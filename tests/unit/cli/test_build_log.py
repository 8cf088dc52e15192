"""`stager build-log`, over a state directory as a server leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stager.cli import build_log
from stager.domain.attempt import Attempt
from stager.domain.deployment import Deployment
from stager.domain.environment import Desired, Environment, EnvironmentKey, RunState
from stager.domain.names import slugify
from stager.domain.source import Revision
from stager.ports.store import Transaction
from stager.state import StateDirectory
from stager.stores.logs import FileLogs
from stager.stores.sqlite.store import open_store
from stager.testing.fakes.clock import START

RUNNER = CliRunner()
app = typer.Typer()
build_log.mount(app)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STAGER_CONFIG", raising=False)
    (tmp_path / "config.yml").write_text("state_dir: state\n", "utf-8")
    return StateDirectory(tmp_path / "state")


def an_environment(id_: str, app: str, name: str, *, present: bool = True) -> Environment:
    return Environment(
        id_,
        EnvironmentKey.of_name(app, name),
        name,
        f"{slugify(name)}.{app}.preview.test",
        Desired(RunState.RUNNING if present else RunState.ABSENT, 1, Revision("a" * 40)),
        START,
        START,
    )


def a_deployment(environment: str, build: str = "") -> Deployment:
    revision = Revision("a" * 40)
    return Deployment(f"d-{environment}", environment, revision, Attempt(1), START, build=build)


async def remember(state: StateDirectory, *work: Callable[[Transaction], None]) -> None:
    store = await open_store(state.database)
    for each in work:
        await store.write(each)
    await store.close()


def built(state: StateDirectory) -> None:
    """Two previews: `feature/x`, whose build printed two lines, and `plain`, for which nothing was built."""
    begun = replace(a_deployment("e1", "key1"), building_at=START, starting_at=START)
    asyncio.run(
        remember(
            state,
            lambda tx: tx.save_environment(an_environment("e1", "shop", "feature/x")),
            lambda tx: tx.save_environment(an_environment("e2", "shop", "plain")),
            lambda tx: tx.save_deployment(begun),
            lambda tx: tx.save_deployment(a_deployment("e2")),
        )
    )
    logs = FileLogs(state.path / "builds")
    logs.add("key1", "#1 FROM base")
    logs.add("key1", "#2 DONE")


@pytest.mark.parametrize(
    "preview",
    [
        "feature/x",
        "e1",
        "feature-x",
        "feature-x.shop.preview.test",
        "http://Feature-X.shop.preview.test:8000/a",
    ],
)
@pytest.mark.parametrize("options", [[], ["--follow"]])
def test_shows_what_the_build_printed(state: StateDirectory, preview: str, options: list[str]) -> None:
    built(state)
    result = RUNNER.invoke(app, [preview, *options])

    assert (result.exit_code, result.stdout) == (0, "#1 FROM base\n#2 DONE\n")


def test_says_that_there_is_nothing(state: StateDirectory) -> None:
    assert "the server was never started with this configuration" in RUNNER.invoke(app, ["feature/x"]).stderr
    built(state)

    assert 'There is no preview "y".' in RUNNER.invoke(app, ["y"]).stderr
    plain = RUNNER.invoke(app, ["plain"])
    assert (plain.exit_code, plain.stdout) == (1, "")
    assert 'There is no build log of "plain".' in plain.stderr


def test_a_name_may_mean_several(state: StateDirectory) -> None:
    built(state)
    asyncio.run(
        remember(
            state,
            lambda tx: tx.save_environment(an_environment("e3", "blog", "feature/x")),
            lambda tx: tx.save_environment(an_environment("e4", "wiki", "feature/x", present=False)),
        )
    )
    result = RUNNER.invoke(app, ["feature/x"])

    assert result.exit_code == 1
    assert "e1  shop" in result.stderr
    assert "e3  blog" in result.stderr
    assert "e4" not in result.stderr


async def test_follows_until_the_build_is_over(state: StateDirectory) -> None:
    queued = a_deployment("e1")
    store = await open_store(state.database)
    logs = FileLogs(state.path / "builds")
    await store.write(lambda tx: tx.save_environment(an_environment("e1", "shop", "x")))
    await store.write(lambda tx: tx.save_deployment(queued))
    pieces: list[str] = []

    async def follow() -> None:
        async for piece in build_log.log_of(store, logs, "e1", follow=True):
            pieces.append(piece)

    following = asyncio.create_task(follow())
    building = replace(queued, build="key1", building_at=START)
    logs.add("key1", "one")
    await store.write(lambda tx: tx.save_deployment(building))
    while not pieces:
        await asyncio.sleep(0.01)
    assert not following.done()
    logs.add("key1", "two")
    await store.write(lambda tx: tx.save_deployment(replace(building, starting_at=START)))
    await following
    await store.close()

    assert "".join(pieces) == "one\ntwo\n"
