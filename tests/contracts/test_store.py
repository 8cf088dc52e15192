"""What every store promises. Each test runs against the real one and against the one in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stager.domain.deployment import Deployment
from stager.domain.environment import Depth, Desired, Environment, EnvironmentKey, RunState
from stager.domain.pull_requests.events import Delivery
from stager.domain.snapshot import Snapshot, SnapshotState
from stager.domain.source import Change, Repository
from stager.ports.store import (
    DeliveryRecord,
    RefusedDeliveries,
    SeenRepository,
    SetAsideDelivery,
    StateKind,
    Store,
    Transaction,
)
from stager.stores.sqlite.store import open_store
from stager.testing import MemoryStore
from tests.contracts.store_samples import (
    BASE,
    FORK,
    NOON,
    bare_deployment,
    bare_environment,
    change,
    delivery,
    deployment,
    environment,
    later,
    link,
    snapshot,
)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else await open_store(tmp_path / "stager.db")
    yield opened
    await opened.close()


async def save(store: Store, *things: Environment | Deployment | Change) -> None:
    """Save these in one transaction."""

    def work(tx: Transaction) -> None:
        for thing in things:
            match thing:
                case Environment():
                    tx.save_environment(thing)
                case Deployment():
                    tx.save_deployment(thing)
                case Change():
                    tx.save_change(thing)

    await store.write(work)


class TestEnvironments:
    @pytest.mark.parametrize(
        "saved",
        [
            environment(),
            bare_environment(),
            bare_environment(desired=Desired(RunState.RUNNING, 1).asleep(Depth.STOPPED, 1.5)),
        ],
        ids=["full", "bare", "asleep"],
    )
    async def test_comes_back_as_it_was_saved(self, store: Store, saved: Environment) -> None:
        await save(store, saved)

        assert await store.read(lambda tx: tx.environment(saved.id)) == saved
        assert await store.read(lambda tx: tx.environment_by_key(saved.key)) == saved
        assert await store.read(lambda tx: tx.environment_by_host(saved.host)) == saved
        assert await store.read(lambda tx: tx.environments()) == [saved]

    async def test_an_unknown_one_is_none(self, store: Store) -> None:
        await save(store, environment(1))

        assert await store.read(lambda tx: tx.environment("env2")) is None
        assert await store.read(lambda tx: tx.environment_by_host("h2.preview.test")) is None
        for app, number in (("shop", 2), ("other", 1)):
            key = EnvironmentKey.of_change(app, BASE.id, number)
            assert await store.read(lambda tx, key=key: tx.environment_by_key(key)) is None  # type: ignore[misc]

    async def test_saving_again_replaces_every_field(self, store: Store) -> None:
        await save(store, environment())
        await save(store, bare_environment())

        assert await store.read(lambda tx: tx.environments()) == [bare_environment()]

    async def test_what_was_saved_is_not_the_callers_to_change(self, store: Store) -> None:
        parameters = {"A": "1"}
        saved = bare_environment(desired=Desired(RunState.RUNNING, 1, parameters=parameters))
        await save(store, saved)
        parameters["A"] = "2"

        read = await store.read(lambda tx: tx.environment("env1"))
        assert read is not None
        assert read.desired.parameters == {"A": "1"}

    async def test_times_are_read_with_a_time_zone(self, store: Store) -> None:
        await save(store, environment())

        read = await store.read(lambda tx: tx.environment("env1"))
        assert read is not None
        assert (read.created_at, read.created_at.tzinfo) == (NOON, UTC)

    async def test_lists_the_oldest_first_and_equals_as_they_came(self, store: Store) -> None:
        def fill(tx: Transaction) -> None:
            tx.save_environment(environment(9, created_at=later(5)))
            tx.save_environment(environment(3, created_at=later(1)))
            tx.save_environment(environment(2, created_at=later(1)))
            tx.save_environment(environment(3, created_at=later(1), comment_id="changed"))

        await store.write(fill)

        assert [e.id for e in await store.read(lambda tx: tx.environments())] == ["env3", "env2", "env9"]

    async def test_can_list_present_or_absent_ones_only(self, store: Store) -> None:
        here, gone = environment(1), environment(2, present=False)
        await save(store, here, gone)

        assert await store.read(lambda tx: tx.environments(present=True)) == [here]
        assert await store.read(lambda tx: tx.environments(present=False)) == [gone]
        assert await store.read(lambda tx: tx.environments()) == [here, gone]

    async def test_a_host_is_that_of_the_present_one_then_of_the_last(self, store: Store) -> None:
        host = "h.preview.test"
        first = environment(1, present=False, host=host, updated_at=later(1))
        last = environment(2, present=False, host=host, updated_at=later(2))
        here = environment(3, host=host, updated_at=NOON)

        await save(store, last, first)
        assert await store.read(lambda tx: tx.environment_by_host(host)) == last
        await save(store, here)
        assert await store.read(lambda tx: tx.environment_by_host(host)) == here

    async def test_of_equals_the_last_to_come_had_the_host_last(self, store: Store) -> None:
        gone = [environment(number, present=False, host="h.test") for number in (2, 1)]
        await save(store, *gone)

        assert await store.read(lambda tx: tx.environment_by_host("h.test")) == gone[-1]

    async def test_a_host_belongs_to_one_present_environment(self, store: Store) -> None:
        await save(store, environment(1, host="h.test"))
        rival = environment(2, host="h.test")

        with pytest.raises(ValueError, match=r"another present environment has the host h\.test"):
            await save(store, rival)
        # Neither may a gone one come back to a host that was given away meanwhile.
        gone = environment(2, host="h.test", present=False)
        await save(store, gone)
        with pytest.raises(ValueError, match="has the host"):
            await save(store, rival)

    async def test_an_environment_is_found_by_the_hosts_of_its_services(self, store: Store) -> None:
        saved = environment(1)
        await save(store, saved)
        await store.write(
            lambda tx: tx.save_service_hosts("env1", {"api": "api.test", "admin": "admin.test"})
        )
        await store.write(lambda tx: tx.save_service_hosts("env1", {"api": "api.test"}))

        assert await store.read(lambda tx: tx.service_hosts("env1")) == {"api": "api.test"}
        assert await store.read(lambda tx: tx.all_service_hosts()) == {"env1": {"api": "api.test"}}
        assert await store.read(lambda tx: tx.environment_by_host("api.test")) == saved
        assert await store.read(lambda tx: tx.environment_by_host("admin.test")) is None

    async def test_a_service_takes_only_the_host_of_a_removed_environment(self, store: Store) -> None:
        await save(store, environment(1), environment(2), environment(3, present=False))
        await store.write(lambda tx: tx.save_service_hosts("env1", {"api": "api.test"}))
        await store.write(lambda tx: tx.save_service_hosts("env3", {"api": "old.test"}))

        for taken in ("api.test", environment(1).host):
            with pytest.raises(ValueError, match="another present environment has the host"):
                await store.write(lambda tx, host=taken: tx.save_service_hosts("env2", {"api": host}))  # type: ignore[misc]
        await store.write(lambda tx: tx.save_service_hosts("env2", {"api": "old.test"}))
        assert await store.read(lambda tx: tx.all_service_hosts()) == {
            "env1": {"api": "api.test"},
            "env2": {"api": "old.test"},
        }

    async def test_an_environment_doesnt_take_the_host_of_a_present_ones_service(self, store: Store) -> None:
        await save(store, environment(1), environment(2, present=False))
        await store.write(lambda tx: tx.save_service_hosts("env1", {"api": "api.test"}))
        await store.write(lambda tx: tx.save_service_hosts("env2", {"api": "old.test"}))

        with pytest.raises(ValueError, match=r"another present environment has the host api\.test"):
            await save(store, environment(3, host="api.test"))
        await save(store, environment(3, host="old.test"), environment(4, host="api.test", present=False))
        assert [e.id for e in await store.read(lambda tx: tx.environments())] == [
            "env1",
            "env2",
            "env3",
            "env4",
        ]

    async def test_a_key_belongs_to_one_environment_even_a_gone_one(self, store: Store) -> None:
        gone = environment(1, present=False)
        await save(store, gone)
        rival = environment(2, key=gone.key)

        with pytest.raises(ValueError, match="another environment has the key shop/change:github:10/1"):
            await save(store, rival)

    async def test_a_refused_save_leaves_the_rest_of_its_transaction(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            tx.save_environment(environment(1, host="h.test"))
            with pytest.raises(ValueError, match="has the host"):
                tx.save_environment(environment(2, host="h.test"))
            tx.save_environment(environment(2, host="h2.test"))

        await store.write(work)

        assert [e.host for e in await store.read(lambda tx: tx.environments())] == ["h.test", "h2.test"]


class TestDeployments:
    @pytest.mark.parametrize("saved", [deployment(), bare_deployment()], ids=["full", "bare"])
    async def test_comes_back_as_it_was_saved(self, store: Store, saved: Deployment) -> None:
        await save(store, environment(), saved)

        assert await store.read(lambda tx: tx.deployment(saved.id)) == saved
        assert await store.read(lambda tx: tx.deployment_of("env1", 1)) == saved

    async def test_saving_again_replaces_every_field(self, store: Store) -> None:
        await save(store, environment(), deployment())
        await save(store, bare_deployment())

        assert await store.read(lambda tx: tx.deployments("env1")) == [bare_deployment()]

    async def test_an_unknown_one_is_none(self, store: Store) -> None:
        await save(store, environment(), deployment())

        assert await store.read(lambda tx: tx.deployment("dep2")) is None
        assert await store.read(lambda tx: tx.deployment_of("env1", 2)) is None
        assert await store.read(lambda tx: tx.deployment_of("env2", 1)) is None
        assert await store.read(lambda tx: tx.deployments("env2")) == []

    async def test_lists_an_environments_own_newest_first(self, store: Store) -> None:
        def fill(tx: Transaction) -> None:
            for number in (1, 2):
                tx.save_environment(environment(number))
            for generation in (2, 10, 1):
                tx.save_deployment(deployment(generation))
            tx.save_deployment(deployment(3, environment_id="env2"))

        await store.write(fill)

        listed = await store.read(lambda tx: tx.deployments("env1"))
        assert [d.generation for d in listed] == [10, 2, 1]

    async def test_a_generation_has_one_deployment(self, store: Store) -> None:
        await save(store, environment(), deployment())

        with pytest.raises(ValueError, match="another deployment of env1 has the generation 1"):
            await save(store, deployment(1, id="other"))

    async def test_a_deployment_needs_its_environment(self, store: Store) -> None:
        with pytest.raises(ValueError, match="there is no environment env1"):
            await save(store, deployment())


class TestEnvironmentsWithDeployments:
    async def test_has_that_of_the_desired_generation_if_there_is_one(self, store: Store) -> None:
        first = environment(1)
        second = bare_environment(2, created_at=later(1))
        third = environment(3, present=False, created_at=later(2))
        await save(store, third, second, first)
        desired, older = deployment(3), deployment(2)
        gone = deployment(9, environment_id="env3", attempt=replace(desired.attempt, generation=3))
        for each in (older, desired, gone):
            await store.write(lambda tx, each=each: tx.save_deployment(each))  # type: ignore[misc]

        pairs = [(first, desired), (second, None), (third, gone)]
        assert await store.read(lambda tx: tx.environments_with_deployments()) == pairs
        assert await store.read(lambda tx: tx.environments_with_deployments(present=True)) == pairs[:2]
        assert await store.read(lambda tx: tx.environments_with_deployments(present=False)) == pairs[2:]

    async def test_being_served_has_that_which_is_served(self, store: Store) -> None:
        first, lost = environment(1), environment(2, created_at=later(1))
        await save(store, first, lost, environment(3, serving=None))
        for each in (deployment(2), deployment(3)):
            await store.write(lambda tx, each=each: tx.save_deployment(each))  # type: ignore[misc]

        found = await store.read(lambda tx: tx.environments_being_served())
        assert found == [(first, deployment(2)), (lost, None)]


class TestEnvironmentState:
    async def test_is_kept_by_environment_and_kind(self, store: Store) -> None:
        await save(store, environment(1), environment(2))

        def work(tx: Transaction) -> None:
            tx.save_environment_state("env1", StateKind.PIN, "1")
            tx.save_environment_state("env1", StateKind.PIN, "2")
            tx.save_environment_state("env1", StateKind.NOTE, "3")
            tx.save_environment_state("env2", StateKind.PIN, "4")
            tx.save_environment_state("env2", StateKind.PIN, "")

        await store.write(work)
        found = await store.read(
            lambda tx: [tx.environment_state(e, k) for e in ("env1", "env2") for k in StateKind]
        )
        assert [text for text in found if text] == ["2", "3"]

    async def test_of_an_unknown_environment_is_not_kept(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_environment_state("env1", StateKind.PIN, "1"))
        await save(store, environment(1))
        assert await store.read(lambda tx: tx.environment_state("env1", StateKind.PIN)) == ""

    async def test_stays_when_the_environment_is_saved_again(self, store: Store) -> None:
        await save(store, environment(1))
        await store.write(lambda tx: tx.save_environment_state("env1", StateKind.PIN, "1"))
        await save(store, environment(1, comment_id="9"))
        assert await store.read(lambda tx: tx.environment_state("env1", StateKind.PIN)) == "1"

    async def test_state_of_one_kind_is_listed_by_environment(self, store: Store) -> None:
        await save(store, environment(1), environment(2), environment(3))

        def write(tx: Transaction) -> None:
            tx.save_environment_state("env1", StateKind.EXTERNAL, "a")
            tx.save_environment_state("env2", StateKind.EXTERNAL, "b")
            tx.save_environment_state("env3", StateKind.PIN, "c")

        await store.write(write)
        found = await store.read(lambda tx: tx.environment_states(StateKind.EXTERNAL))
        assert found == {"env1": "a", "env2": "b"}


class TestDeliveries:
    async def test_are_given_out_in_the_order_in_which_they_came(self, store: Store) -> None:
        first, second = delivery(2), delivery(1)

        assert await store.read(lambda tx: tx.next_delivery()) is None
        assert await store.write(lambda tx: tx.add_delivery(first, later(1)))
        assert await store.write(lambda tx: tx.add_delivery(second, NOON))
        assert await store.read(lambda tx: tx.next_delivery()) == first
        assert await store.read(lambda tx: tx.next_delivery()) == first
        await store.write(lambda tx: tx.finish_delivery(first, "launched", later(2)))
        assert await store.read(lambda tx: tx.next_delivery()) == second
        await store.write(lambda tx: tx.finish_delivery(second, "ignored", later(2)))
        assert await store.read(lambda tx: tx.next_delivery()) is None

    async def test_a_repetition_has_no_effect(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_delivery(delivery(payload="first"), NOON))

        assert not await store.write(lambda tx: tx.add_delivery(delivery(payload="second"), NOON))
        assert await store.read(lambda tx: tx.next_delivery()) == delivery(payload="first")
        await store.write(lambda tx: tx.finish_delivery(delivery(), "done", NOON))
        assert not await store.write(lambda tx: tx.add_delivery(delivery(payload="third"), NOON))
        assert await store.read(lambda tx: tx.next_delivery()) is None

    async def test_each_forge_has_ids_of_its_own(self, store: Store) -> None:
        here, there = delivery(forge="github"), delivery(forge="local")
        await store.write(lambda tx: tx.add_delivery(here, NOON))

        assert await store.write(lambda tx: tx.add_delivery(there, NOON))
        await store.write(lambda tx: tx.finish_delivery(here, "done", NOON))
        assert await store.read(lambda tx: tx.next_delivery()) == there

    async def test_finishing_an_unknown_one_has_no_effect(self, store: Store) -> None:
        await store.write(lambda tx: tx.finish_delivery(delivery(), "done", NOON))

        assert await store.write(lambda tx: tx.add_delivery(delivery(), NOON))
        assert await store.read(lambda tx: tx.next_delivery()) == delivery()


class TestBegunDeliveries:
    async def test_beginnings_without_an_end_are_counted(self, store: Store) -> None:
        for number in (1, 2):
            await store.write(lambda tx, n=number: tx.add_delivery(delivery(n), NOON))  # type: ignore[misc]
        assert await store.write(lambda tx: tx.begin_delivery(delivery(1))) == 1
        assert await store.write(lambda tx: tx.begin_delivery(delivery(1))) == 2
        assert await store.write(lambda tx: tx.begin_delivery(delivery(2))) == 1
        assert await store.read(lambda tx: tx.next_delivery()) == delivery(1)

    async def test_one_that_is_released_does_not_count(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_delivery(delivery(), NOON))
        for _ in range(3):
            assert await store.write(lambda tx: tx.begin_delivery(delivery())) == 1
            await store.write(lambda tx: tx.release_delivery(delivery()))
        await store.write(lambda tx: tx.release_delivery(delivery()))
        assert await store.write(lambda tx: tx.begin_delivery(delivery())) == 1

    async def test_there_are_none_of_what_is_unknown_or_finished(self, store: Store) -> None:
        assert await store.write(lambda tx: tx.begin_delivery(delivery())) == 0
        await store.write(lambda tx: tx.add_delivery(delivery(), NOON))
        await store.write(lambda tx: tx.begin_delivery(delivery()))
        await store.write(lambda tx: tx.finish_delivery(delivery(), "done", NOON))
        assert await store.write(lambda tx: tx.begin_delivery(delivery())) == 0

    async def test_one_that_is_set_aside_is_listed_and_not_given_out(self, store: Store) -> None:
        for number in (1, 2):
            await store.write(lambda tx, n=number: tx.add_delivery(delivery(n), NOON))  # type: ignore[misc]
        await store.write(lambda tx: tx.begin_delivery(delivery(1)))
        await store.write(lambda tx: tx.set_delivery_aside(delivery(1), "it hangs", later(1)))

        one = delivery(1)
        [found] = await store.read(lambda tx: tx.deliveries_set_aside())
        assert found == SetAsideDelivery(one.forge, one.id, one.event, later(1), "it hangs")
        assert await store.read(lambda tx: tx.next_delivery()) == delivery(2)

    async def test_setting_an_unknown_one_aside_has_no_effect(self, store: Store) -> None:
        await store.write(lambda tx: tx.set_delivery_aside(delivery(), "it hangs", NOON))
        assert await store.read(lambda tx: tx.deliveries_set_aside()) == []

    async def test_one_that_was_set_aside_and_comes_again_is_taken_after_the_others(
        self, store: Store
    ) -> None:
        for number in (1, 2):
            await store.write(lambda tx, n=number: tx.add_delivery(delivery(n), NOON))  # type: ignore[misc]
        await store.write(lambda tx: tx.set_delivery_aside(delivery(1), "it hangs", later(1)))

        assert await store.write(lambda tx: tx.add_delivery(delivery(1, payload="again"), later(2)))
        assert not await store.write(lambda tx: tx.add_delivery(delivery(1), later(2)))
        assert await store.read(lambda tx: tx.deliveries_set_aside()) == []
        assert await store.read(lambda tx: tx.next_delivery()) == delivery(2)
        await store.write(lambda tx: tx.finish_delivery(delivery(2), "done", later(3)))
        assert await store.read(lambda tx: tx.next_delivery()) == delivery(1, payload="again")
        assert await store.write(lambda tx: tx.begin_delivery(delivery(1))) == 1

    async def test_one_that_is_set_aside_is_deleted_after_the_retention(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_delivery(delivery(), NOON))
        await store.write(lambda tx: tx.set_delivery_aside(delivery(), "it hangs", later(1)))

        assert await store.write(lambda tx: tx.delete_expired(later(1))) == 0
        assert await store.write(lambda tx: tx.delete_expired(later(2))) == 1
        assert await store.read(lambda tx: tx.deliveries_set_aside()) == []


class TestListedDeliveries:
    async def test_the_newest_come_first(self, store: Store) -> None:
        assert await store.read(lambda tx: tx.recent_deliveries(5)) == []
        for number in (1, 2, 3):
            at = later(number)
            await store.write(lambda tx, n=number, at=at: tx.add_delivery(delivery(n), at))  # type: ignore[misc]
        await store.write(lambda tx: tx.finish_delivery(delivery(2), "launched", later(4), "acme/shop#7"))
        await store.write(lambda tx: tx.set_delivery_aside(delivery(1), "it hangs", later(5)))

        waiting, done, aside = await store.read(lambda tx: tx.recent_deliveries(3))
        assert waiting == DeliveryRecord("github", delivery(3).id, "pull_request", "", later(3))
        assert done == DeliveryRecord(
            "github", delivery(2).id, "pull_request", "acme/shop#7", later(2), later(4), "launched"
        )
        assert (aside.outcome, aside.is_set_aside, aside.finished_at) == ("it hangs", True, later(5))
        assert await store.read(lambda tx: tx.recent_deliveries(2)) == [waiting, done]

    @pytest.mark.parametrize("search", ["ACME/shop", "#7", "launch", "pull_req", "d2"])
    async def test_are_searched(self, store: Store, search: str) -> None:
        one, two = replace(delivery(1), id="d1", event="ping"), replace(delivery(2), id="d2")
        for each in (one, two):
            await store.write(lambda tx, d=each: tx.add_delivery(d, NOON))  # type: ignore[misc]
        await store.write(lambda tx: tx.finish_delivery(two, "launched", later(1), "acme/shop#7"))

        [found] = await store.read(lambda tx: tx.recent_deliveries(5, search))
        assert found.delivery == "d2"

    async def test_the_content_of_a_finished_one_is_kept_unless_it_is_long(self, store: Store) -> None:
        short, long = replace(delivery(1), payload="{}"), replace(delivery(2), payload="x" * 100_001)
        for each in (short, long):
            await store.write(lambda tx, d=each: tx.add_delivery(d, NOON))  # type: ignore[misc]
            await store.write(lambda tx, d=each: tx.finish_delivery(d, "done", later(1)))  # type: ignore[misc]
        found = await store.read(
            lambda tx: [one for d in (short, long) for one in tx.stored_deliveries(d.id)]
        )

        assert [one.payload for one in found] == ["{}", ""]
        assert found[0].record.outcome == "done"
        assert await store.read(lambda tx: tx.stored_deliveries("none")) == []

    async def test_two_forges_may_use_the_same_id(self, store: Store) -> None:
        one, other = delivery(1), replace(delivery(1), forge="local")
        await store.write(lambda tx: tx.add_delivery(one, NOON))
        await store.write(lambda tx: tx.add_delivery(other, later(1)))

        found = await store.read(lambda tx: tx.stored_deliveries(one.id))
        assert [each.record.forge for each in found] == ["local", "github"]

    async def test_the_content_of_500_is_kept(self, store: Store) -> None:
        each = [replace(delivery(number), id=f"d{number}", payload="{}") for number in range(502)]

        def finish(tx: Transaction) -> None:
            for one in each:
                tx.add_delivery(one, NOON)
                tx.finish_delivery(one, "done", later(1))

        await store.write(finish)
        assert await payloads(store, each) == ["", "", *["{}"] * 500]

    async def test_the_content_of_an_old_one_is_discarded_at_its_end(self, store: Store) -> None:
        each = [replace(delivery(number), id=f"d{number}", payload="{}") for number in range(503)]

        def finish(tx: Transaction) -> None:
            for one in each:
                tx.add_delivery(one, NOON)
            tx.finish_delivery(each[1], "done", later(1))
            tx.finish_delivery(each[502], "done", later(1))

        await store.write(finish)
        assert await payloads(store, each) == ["{}", "", *["{}"] * 501]
        await store.write(lambda tx: tx.set_delivery_aside(each[0], "it hangs", later(2)))
        assert (await payloads(store, each))[:3] == ["", "", "{}"]

    async def test_the_content_of_500_is_kept_beside_redeliveries(self, store: Store) -> None:
        """A redelivery leaves a gap in the order of arrival."""
        each = [replace(delivery(number), id=f"d{number}", payload="{}") for number in range(502)]

        def finish(tx: Transaction) -> None:
            for one in each:
                tx.add_delivery(one, NOON)
                tx.set_delivery_aside(one, "it hangs", later(1))
            for one in each[100:200]:
                tx.add_delivery(one, later(2))
                tx.finish_delivery(one, "done", later(2))

        await store.write(finish)
        assert (await payloads(store, each)).count("{}") == 500

    async def test_refused_ones_are_counted_by_cause(self, store: Store) -> None:
        one = RefusedDeliveries("github", "signature-wrong", 2, later(1), "Wrong.", "Set it.")
        other = RefusedDeliveries("github", "delivery-unreadable", 1, later(2), "Odd.", "")
        for each in (one, other, replace(one, count=3, at=later(3), message="Still wrong.")):
            await store.write(lambda tx, each=each: tx.count_refused(each))  # type: ignore[misc]

        assert await store.read(lambda tx: tx.refused_deliveries()) == [
            replace(one, count=5, at=later(3), message="Still wrong."),
            other,
        ]
        assert await store.write(lambda tx: tx.delete_expired(later(3))) == 1
        assert [r.reason for r in await store.read(lambda tx: tx.refused_deliveries())] == ["signature-wrong"]

    async def test_they_are_limited_in_number(self, store: Store) -> None:
        for number in range(1, 6):
            await store.write(lambda tx, n=number: tx.add_delivery(delivery(n), NOON))  # type: ignore[misc]
        for number in (1, 3, 4, 5):
            await store.write(lambda tx, n=number: tx.finish_delivery(delivery(n), "done", NOON))  # type: ignore[misc]

        assert await store.write(lambda tx: tx.delete_expired(NOON, max_deliveries=2)) == 2
        left = await store.read(lambda tx: tx.recent_deliveries(9))
        assert [one.delivery for one in left] == [delivery(n).id for n in (5, 4, 2)], "2 isn't finished"


class TestActedOn:
    async def test_one_is_acted_on_once_in_its_repository(self, store: Store) -> None:
        assert not await store.read(lambda tx: tx.is_processed("github:10", "7"))
        assert await store.write(lambda tx: tx.mark_processed("github:10", "7", NOON))
        assert not await store.write(lambda tx: tx.mark_processed("github:10", "7", later(1)))
        assert await store.write(lambda tx: tx.mark_processed("11", "7", NOON))
        assert await store.write(lambda tx: tx.mark_processed("github:10", "8", NOON))
        assert await store.read(lambda tx: tx.is_processed("github:10", "7"))
        assert not await store.read(lambda tx: tx.is_processed("11", "8"))

    async def test_are_deleted_after_the_retention(self, store: Store) -> None:
        await store.write(lambda tx: tx.mark_processed("github:10", "7", NOON))
        assert await store.write(lambda tx: tx.delete_expired(NOON)) == 0
        assert not await store.write(lambda tx: tx.mark_processed("github:10", "7", later(1)))
        assert await store.write(lambda tx: tx.delete_expired(later(1))) == 1
        assert await store.write(lambda tx: tx.mark_processed("github:10", "7", later(2)))


class TestChanges:
    @pytest.mark.parametrize("head", [FORK, BASE, None], ids=["fork", "own", "deleted"])
    async def test_comes_back_as_it_was_saved(self, store: Store, head: Repository | None) -> None:
        saved = change(head_repository=head)
        await save(store, saved)

        assert await store.read(lambda tx: tx.change("github:10", 7)) == saved
        assert await store.read(lambda tx: tx.change("github:10", 8)) is None
        assert await store.read(lambda tx: tx.change("github:99", 7)) is None

    async def test_saving_again_replaces_every_field(self, store: Store) -> None:
        closed = change(
            repository=Repository("github:10", "moved", "store"),
            is_open=False,
            head_sha="new",
            head_ref="other",
            head_repository=None,
            base_ref="release",
            title="",
            author="bob",
            url="",
            updated_at=later(60),
            merged=True,
            head_before="",
        )
        await save(store, change(), closed)

        assert await store.read(lambda tx: tx.change("github:10", 7)) == closed

    async def test_lists_a_repositorys_open_ones_by_number(self, store: Store) -> None:
        def fill(tx: Transaction) -> None:
            for number in (10, 9, 2):
                tx.save_change(change(number))
            tx.save_change(change(3, is_open=False))
            tx.save_change(change(4, repository=FORK))

        await store.write(fill)

        assert [c.number for c in await store.read(lambda tx: tx.open_changes("github:10"))] == [2, 9, 10]
        assert await store.read(lambda tx: tx.open_changes("11")) == []


class TestRepositoriesAndFacts:
    async def test_a_repository_is_kept_once_for_each_app_under_its_latest_name(self, store: Store) -> None:
        moved = Repository(BASE.id, "acme-inc", "store")

        def work(tx: Transaction) -> None:
            tx.save_repository("shop", BASE)
            tx.save_repository("admin", BASE)
            tx.save_repository("shop", moved)
            tx.save_repository("shop", FORK)

        await store.write(work)

        assert await store.read(lambda tx: tx.repositories()) == [
            SeenRepository("admin", BASE),
            SeenRepository("shop", moved),
            SeenRepository("shop", FORK),
        ]

    async def test_a_fact_is_empty_until_it_is_saved(self, store: Store) -> None:
        assert await store.read(lambda tx: tx.fact("domain")) == ""
        await store.write(lambda tx: tx.save_fact("domain", "a.test"))
        await store.write(lambda tx: tx.save_fact("domain", "b.test"))
        assert await store.read(lambda tx: tx.fact("domain")) == "b.test"


class TestSnapshots:
    async def test_comes_back_as_it_was_saved(self, store: Store) -> None:
        bare = Snapshot("s2", "shop", 2, SnapshotState.MAKING, NOON, "ann", "preview main")
        for one in (snapshot(), bare):
            await store.write(lambda tx, one=one: tx.save_snapshot(one))  # type: ignore[misc]

        assert await store.read(lambda tx: tx.snapshot("shop-s1")) == snapshot()
        assert await store.read(lambda tx: tx.snapshot("s2")) == bare
        assert await store.read(lambda tx: tx.snapshot("s3")) is None

    async def test_saving_again_replaces_every_field(self, store: Store) -> None:
        other = Snapshot("shop-s1", "shop", 1, SnapshotState.READY, later(9), "bob", "dump x")
        await store.write(lambda tx: tx.save_snapshot(snapshot()))
        await store.write(lambda tx: tx.save_snapshot(other))

        assert await store.read(lambda tx: tx.snapshots("shop")) == [other]

    async def test_lists_those_of_an_application_newest_first(self, store: Store) -> None:
        for one in (snapshot(1), snapshot(3), snapshot(2), snapshot(1, "blog")):
            await store.write(lambda tx, one=one: tx.save_snapshot(one))  # type: ignore[misc]

        of_shop = [snapshot(3), snapshot(2), snapshot(1)]
        assert await store.read(lambda tx: tx.snapshots("shop")) == of_shop
        assert await store.read(lambda tx: tx.snapshots()) == [snapshot(1, "blog"), *of_shop]

    async def test_a_number_is_given_once(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_snapshot(snapshot()))

        with pytest.raises(ValueError, match="another snapshot of shop has the number 1"):
            await store.write(lambda tx: tx.save_snapshot(snapshot(id="other")))

    async def test_deleting_twice_is_deleting(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_snapshot(snapshot()))
        for _ in range(2):
            await store.write(lambda tx: tx.delete_snapshot("shop-s1"))

        assert await store.read(lambda tx: tx.snapshots()) == []


class TestForget:
    async def test_what_belongs_to_an_environment_is_deleted_with_it_uncounted(self, store: Store) -> None:
        await save(store, environment(1, present=False, updated_at=later(-1)), environment(2))

        def write(tx: Transaction) -> None:
            for owner in ("env1", "env2"):
                number = int(owner[-1])
                tx.save_deployment(deployment(number, environment_id=owner))
                tx.save_share_link(link(number, environment_id=owner))
                for kind in set(StateKind) - {StateKind.EXTERNAL}:
                    tx.save_environment_state(owner, kind, "x")
            tx.save_fact("domain", "x")

        def left(tx: Transaction) -> set[str]:
            owners = ("env1", "env2")
            state = {f"{o} {kind}" for o in owners for kind in StateKind if tx.environment_state(o, kind)}
            deployed = {d.environment_id for d in tx.all_deployments()}
            assert deployed == {each.environment_id for each in tx.all_share_links()}
            return state | deployed | {tx.fact("domain")}

        await store.write(write)
        assert await store.write(lambda tx: tx.delete_expired(NOON)) == 1
        kinds = set(StateKind) - {StateKind.EXTERNAL}
        assert await store.read(left) == {f"env2 {kind}" for kind in kinds} | {"env2", "x"}
        assert await store.write(lambda tx: tx.delete_expired(NOON)) == 0

    async def test_an_environment_with_external_resources_stays(self, store: Store) -> None:
        await save(store, environment(1, present=False, updated_at=later(-1)))
        await store.write(lambda tx: tx.save_environment_state("env1", StateKind.EXTERNAL, "x"))

        assert await store.write(lambda tx: tx.delete_expired(NOON)) == 0
        assert await store.read(lambda tx: tx.environment("env1")) is not None
        await store.write(lambda tx: tx.save_environment_state("env1", StateKind.EXTERNAL, ""))
        assert await store.write(lambda tx: tx.delete_expired(NOON)) == 1

    async def test_removes_what_is_over_and_older_and_counts_it(self, store: Store) -> None:
        def fill(tx: Transaction) -> None:
            tx.save_environment(environment(1, present=False, updated_at=later(-1)))
            tx.save_environment(environment(2, present=False, updated_at=NOON))
            tx.save_environment(environment(3, present=True, updated_at=later(-1)))
            for number in (1, 2, 3):
                tx.save_deployment(deployment(number, environment_id=f"env{number}"))
            tx.save_deployment(deployment(4, environment_id="env1"))
            for number in (1, 2, 3):
                tx.add_delivery(delivery(number), later(-9))
            tx.finish_delivery(delivery(1), "done", later(-1))
            tx.finish_delivery(delivery(2), "done", NOON)

        await store.write(fill)

        assert await store.write(lambda tx: tx.delete_expired(NOON)) == 2
        assert [e.id for e in await store.read(lambda tx: tx.environments())] == ["env2", "env3"]
        assert await store.read(lambda tx: tx.deployments("env1")) == []
        assert len(await store.read(lambda tx: tx.deployments("env2") + tx.deployments("env3"))) == 2
        assert await store.read(lambda tx: tx.next_delivery()) == delivery(3)
        assert await store.write(lambda tx: tx.delete_expired(NOON)) == 0

    async def test_deliveries_may_be_kept_for_longer(self, store: Store) -> None:
        def fill(tx: Transaction) -> None:
            tx.save_environment(environment(1, present=False, updated_at=later(-1)))
            tx.add_delivery(delivery(1), later(-9))
            tx.finish_delivery(delivery(1), "done", later(-2))

        await store.write(fill)

        assert await store.write(lambda tx: tx.delete_expired(NOON, deliveries_before=later(-2))) == 1
        assert await store.write(lambda tx: tx.delete_expired(NOON, deliveries_before=later(-1))) == 1

    async def test_a_deleted_delivery_may_be_received_again(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            tx.add_delivery(delivery(1), NOON)
            tx.finish_delivery(delivery(1), "done", NOON)
            tx.add_delivery(delivery(2), NOON)
            tx.delete_expired(later(1))

        await store.write(work)

        assert await store.write(lambda tx: tx.add_delivery(delivery(1), later(2)))
        assert await store.read(lambda tx: tx.next_delivery()) == delivery(2)


class TestTransactions:
    async def test_returns_what_the_work_returns(self, store: Store) -> None:
        assert await store.write(lambda _: "written") == "written"
        assert await store.read(lambda _: "read") == "read"

    async def test_sees_its_own_writes(self, store: Store) -> None:
        def work(tx: Transaction) -> str:
            tx.save_fact("domain", "a.test")
            return tx.fact("domain")

        assert await store.write(work) == "a.test"

    async def test_work_that_raises_leaves_nothing_and_its_error_unchanged(self, store: Store) -> None:
        await save(store, environment(1))
        error = KeyError("mine")

        def work(tx: Transaction) -> None:
            tx.save_environment(environment(1, comment_id="changed"))
            tx.save_environment(environment(2))
            tx.add_delivery(delivery(), NOON)
            tx.save_change(change())
            tx.save_fact("domain", "a.test")
            raise error

        with pytest.raises(KeyError) as raised:
            await store.write(work)
        assert raised.value is error
        assert await store.read(lambda tx: tx.environments()) == [environment(1)]
        assert await store.read(lambda tx: tx.next_delivery()) is None
        assert await store.read(lambda tx: tx.change("github:10", 7)) is None
        assert await store.read(lambda tx: tx.fact("domain")) == ""

    async def test_the_store_works_after_work_that_raised(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError):
            await store.write(lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await store.read(lambda _: 1 // 0)

        await store.write(lambda tx: tx.save_fact("domain", "a.test"))
        assert await store.read(lambda tx: tx.fact("domain")) == "a.test"

    async def test_stop_iteration_does_not_hang_the_caller(self, store: Store) -> None:
        empty: list[str] = []
        with pytest.raises(RuntimeError, match="StopIteration"):
            async with asyncio.timeout(5):
                await store.write(lambda _: next(iter(empty)))

    @pytest.mark.parametrize(
        "work",
        [
            lambda tx: tx.save_environment(environment()),
            lambda tx: tx.save_environment_state("env1", StateKind.PIN, "x"),
            lambda tx: tx.save_environment_state("env1", StateKind.PIN, ""),
            lambda tx: tx.save_deployment(deployment()),
            lambda tx: tx.save_share_link(link()),
            lambda tx: tx.add_delivery(delivery(), NOON),
            lambda tx: tx.begin_delivery(delivery()),
            lambda tx: tx.release_delivery(delivery()),
            lambda tx: tx.finish_delivery(delivery(), "done", NOON),
            lambda tx: tx.set_delivery_aside(delivery(), "it hangs", NOON),
            lambda tx: tx.mark_processed("github:10", "7", NOON),
            lambda tx: tx.save_change(change()),
            lambda tx: tx.save_repository("shop", BASE),
            lambda tx: tx.save_fact("domain", "a.test"),
            lambda tx: tx.delete_expired(NOON),
        ],
    )
    async def test_a_read_must_not_write(self, store: Store, work: Callable[[Transaction], object]) -> None:
        with pytest.raises(RuntimeError, match="a read must not write"):
            await store.read(work)

    async def test_many_at_once_lose_nothing(self, store: Store) -> None:
        def increment(tx: Transaction) -> None:
            tx.save_fact("count", str(int(tx.fact("count") or 0) + 1))

        await asyncio.gather(*(store.write(increment) for _ in range(200)))

        assert await store.read(lambda tx: tx.fact("count")) == "200"

    async def test_closing_twice_is_closing_and_a_closed_store_refuses(self, store: Store) -> None:
        await store.close()
        await store.close()

        with pytest.raises(RuntimeError):
            await store.read(lambda tx: tx.fact("domain"))
        with pytest.raises(RuntimeError):
            await store.write(lambda tx: tx.save_fact("domain", "a.test"))

    async def test_a_cancelled_write_happens_whole_or_not_at_all(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            tx.save_fact("one", "x")
            tx.save_fact("two", "x")

        task = asyncio.create_task(store.write(work))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        one, two = await store.write(lambda tx: (tx.fact("one"), tx.fact("two")))
        assert one == two


async def test_times_from_any_zone_are_the_same_moments(store: Store) -> None:
    saved = change(updated_at=datetime.fromisoformat("2026-03-01T14:00:00+02:00"))
    await save(store, saved)

    read = await store.read(lambda tx: tx.change("github:10", 7))
    assert read == replace(saved, updated_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC))


async def payloads(store: Store, each: Sequence[Delivery]) -> list[str]:
    found = await store.read(lambda tx: [tx.stored_deliveries(one.id) for one in each])
    return [one.payload for [one] in found]
