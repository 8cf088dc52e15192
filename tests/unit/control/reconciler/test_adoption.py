"""The database is lost; the engine has what runs, and the router still leads there."""

from __future__ import annotations

from dataclasses import replace

from stager.domain.environment import Environment
from stager.domain.source import Repository
from stager.domain.status import State
from stager.testing import MemoryStore, Program
from tests.unit.control.harness import IMAGE, SHOP, Harness


async def lose_the_database(harness: Harness) -> None:
    await harness.kill()
    harness.store = MemoryStore()


async def opened(harness: Harness, ref: str = "feature-x", sha: str = "a1") -> Repository:
    repository = harness.forge.add_repository("acme", "shop")
    await harness.deliver(harness.forge.open(repository, ref, sha, title="Größer"))
    await harness.rest()
    return repository


def what_counts(environment: Environment) -> Environment:
    """An environment without the stamps and the comment, which are found again in other ways."""
    return replace(environment, created_at=environment.updated_at, comment_id="")


async def test_hosts_keep_serving(harness: Harness) -> None:
    await opened(harness)
    launched = await harness.launch("feature/y", GREETING="hallo")
    await harness.rest()
    before = {e.id: what_counts(await harness.the(e)) for e in await harness.environments()}
    instances = harness.engine.there()
    await lose_the_database(harness)
    served = harness.served(launched.host)
    await harness.start()

    for environment in await harness.environments():
        await harness.assert_live(environment)
        known = replace(before[environment.id], created_at=environment.updated_at)
        assert replace(what_counts(environment), updated_at=known.updated_at) == replace(
            known, created_at=environment.created_at
        )
    assert len(await harness.environments()) == 2
    assert harness.engine.there() == instances, "something was restarted"
    assert harness.served(launched.host) == served


async def test_the_comment_is_found_again(harness: Harness) -> None:
    await opened(harness)
    await lose_the_database(harness)
    await harness.start()

    [comment] = harness.forge.comments
    assert (await harness.the()).comment_id == comment.id


async def test_the_newest_running_one_is_what_should_be(harness: Harness) -> None:
    harness.engine.add_image(IMAGE)
    await harness.launch()
    await harness.rest()
    harness.engine.add_image(IMAGE, Program(status=None))
    await harness.launch()
    await harness.rest(5)
    assert len(harness.engine.there()) == 2
    await lose_the_database(harness)
    await harness.start()

    # The newer one runs but doesn't answer: it is given up, and what served goes on.
    await harness.assert_live(generation=1)
    assert (await harness.status()).state is State.FAILED_UPDATE


async def test_what_ended_meanwhile_is_started_again(harness: Harness) -> None:
    await harness.launch()
    await harness.rest()
    await lose_the_database(harness)
    harness.engine.end(harness.engine.there()[0].id)
    await harness.start()

    await harness.assert_live()


async def test_a_younger_environment_in_its_place_makes_it_an_orphan(harness: Harness) -> None:
    """The engine was away when the database was lost, and meanwhile it was launched again."""
    await harness.launch()
    await harness.rest()
    old = await harness.assert_live()
    await lose_the_database(harness)
    harness.engine.leave()
    await harness.start(rest=False)
    environment = await harness.launch()
    harness.engine.come_back()
    await harness.rest()

    new = await harness.assert_live(environment)
    assert new.id != old.id
    assert harness.engine.there() == [new]


async def test_what_runs_takes_precedence_over_the_forge(harness: Harness) -> None:
    """The engine is away when Stager starts without its database, and the forge isn't."""
    await harness.kill()
    harness.applications = [replace(SHOP, owner="acme")]
    await harness.start()
    await opened(harness)
    running = await harness.assert_live()
    environment = await harness.the()
    await lose_the_database(harness)
    harness.engine.leave()
    await harness.start()
    harness.engine.come_back()
    await harness.rest(600)

    assert [e.id for e in await harness.environments()] == [environment.id]
    assert await harness.assert_live() == running


async def test_the_forge_decides_what_is_open(harness: Harness) -> None:
    """Once the database is back, the forge says what should be: closed ones go, newer heads come."""
    await harness.kill()
    harness.applications = [replace(SHOP, owner="acme")]
    await harness.start()
    repository = harness.forge.add_repository("acme", "shop")
    stays = harness.forge.open(repository, "stays", "a1")
    moves = harness.forge.open(repository, "moves", "b1")
    goes = harness.forge.open(repository, "goes", "c1")
    await harness.deliver(stays, moves, goes)
    await harness.rest()
    await lose_the_database(harness)
    harness.forge.push(moves, "b2")
    harness.forge.close(goes)
    await harness.start()

    there = {e.name: e for e in await harness.environments(present=True)}
    assert {name: e.desired.revision.sha for name, e in there.items()} == {"stays": "a1", "moves": "b2"}
    await harness.assert_live(there["stays"])
    await harness.assert_live(there["moves"])
    assert len(harness.engine.there()) == 2


async def test_nothing_of_ours_left_means_nothing_adopted(harness: Harness) -> None:
    await harness.launch()
    await harness.rest()
    await harness.stop()
    await harness.rest()
    await lose_the_database(harness)
    await harness.start()

    assert await harness.environments() == []
    assert harness.router.table.routes == {}
