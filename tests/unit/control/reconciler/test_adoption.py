"""The database is lost; the engine has what runs, and the router still leads there."""

from __future__ import annotations

from dataclasses import replace

from stager.domain.environment import Environment
from stager.domain.source import Repository
from stager.domain.status import State
from stager.testing import MemoryStore, Program
from tests.unit.control.harness import IMAGE, SHOP, Harness


async def lose_the_database(house: Harness) -> None:
    await house.kill()
    house.store = MemoryStore()


async def opened(house: Harness, ref: str = "feature-x", sha: str = "a1") -> Repository:
    repository = house.forge.add_repository("acme", "shop")
    await house.tell(house.forge.open(repository, ref, sha, title="Größer"))
    await house.rest()
    return repository


def what_counts(environment: Environment) -> Environment:
    """An environment without the stamps and the comment, which are found again in other ways."""
    return replace(environment, created_at=environment.updated_at, comment_id="")


async def test_hosts_keep_serving(house: Harness) -> None:
    await opened(house)
    launched = await house.launch("feature/y", GREETING="hallo")
    await house.rest()
    before = {e.id: what_counts(await house.the(e)) for e in await house.environments()}
    instances = house.engine.there()
    await lose_the_database(house)
    served = house.served(launched.host)
    await house.start()

    for environment in await house.environments():
        await house.assert_live(environment)
        known = replace(before[environment.id], created_at=environment.updated_at)
        assert replace(what_counts(environment), updated_at=known.updated_at) == replace(
            known, created_at=environment.created_at
        )
    assert len(await house.environments()) == 2
    assert house.engine.there() == instances, "something was started anew"
    assert house.served(launched.host) == served


async def test_the_comment_is_found_again(house: Harness) -> None:
    await opened(house)
    await lose_the_database(house)
    await house.start()

    [comment] = house.forge.comments
    assert (await house.the()).comment_id == comment.id


async def test_the_newest_running_one_is_what_should_be(house: Harness) -> None:
    house.engine.add_image(IMAGE)
    await house.launch()
    await house.rest()
    house.engine.add_image(IMAGE, Program(status=None))
    await house.launch()
    await house.rest(5)
    assert len(house.engine.there()) == 2
    await lose_the_database(house)
    await house.start()

    # The newer one runs but doesn't answer: it is given up, and what served goes on.
    await house.assert_live(generation=1)
    assert (await house.status()).state is State.FAILED_UPDATE


async def test_what_ended_meanwhile_is_started_again(house: Harness) -> None:
    await house.launch()
    await house.rest()
    await lose_the_database(house)
    house.engine.end(house.engine.there()[0].id)
    await house.start()

    await house.assert_live()


async def test_a_younger_environment_in_its_place_makes_it_an_orphan(house: Harness) -> None:
    """The engine was away when the database was lost, and meanwhile somebody launched it again."""
    await house.launch()
    await house.rest()
    old = await house.assert_live()
    await lose_the_database(house)
    house.engine.leave()
    await house.start(rest=False)
    environment = await house.launch()
    house.engine.come_back()
    await house.rest()

    new = await house.assert_live(environment)
    assert new.id != old.id
    assert house.engine.there() == [new]


async def test_what_runs_comes_before_what_the_forge_tells(house: Harness) -> None:
    """The engine is away when Stager starts without its database, and the forge isn't."""
    await house.kill()
    house.applications = [replace(SHOP, owner="acme")]
    await house.start()
    await opened(house)
    running = await house.assert_live()
    environment = await house.the()
    await lose_the_database(house)
    house.engine.leave()
    await house.start()
    house.engine.come_back()
    await house.rest(600)

    assert [e.id for e in await house.environments()] == [environment.id]
    assert await house.assert_live() == running


async def test_the_forge_tells_what_is_open(house: Harness) -> None:
    """Once the database is back, the forge says what should be: closed ones go, newer heads come."""
    await house.kill()
    house.applications = [replace(SHOP, owner="acme")]
    await house.start()
    repository = house.forge.add_repository("acme", "shop")
    stays = house.forge.open(repository, "stays", "a1")
    moves = house.forge.open(repository, "moves", "b1")
    goes = house.forge.open(repository, "goes", "c1")
    await house.tell(stays, moves, goes)
    await house.rest()
    await lose_the_database(house)
    house.forge.push(moves, "b2")
    house.forge.close(goes)
    await house.start()

    there = {e.name: e for e in await house.environments(present=True)}
    assert {name: e.desired.revision.sha for name, e in there.items()} == {"stays": "a1", "moves": "b2"}
    await house.assert_live(there["stays"])
    await house.assert_live(there["moves"])
    assert len(house.engine.there()) == 2


async def test_nothing_of_ours_left_means_nothing_adopted(house: Harness) -> None:
    await house.launch()
    await house.rest()
    await house.stop()
    await house.rest()
    await lose_the_database(house)
    await house.start()

    assert await house.environments() == []
    assert house.router.table.routes == {}
