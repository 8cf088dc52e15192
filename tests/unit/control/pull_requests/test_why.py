"""Why there is no preview: each kind of "nothing happened", from its cause to the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stager.control.pull_requests.why import WhyAnswer
from stager.domain.allocation import Limit, Limits
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.pull_requests.events import ChangeEvent, Skip
from stager.domain.pull_requests.why import Facts, LastDelivery, Target, target_of
from stager.domain.pull_requests.why import why as decide
from stager.settings.values.patterns import Pattern
from stager.testing import FaultMode, Program
from tests.unit.control.harness import ANN, IMAGE, SHOP, Harness
from tests.unit.control.pull_requests.test_policy import APP, OTHER, SHA, Gate, forked, ruled
from tests.unit.control.pull_requests.test_webhooks import Deciding

VIEWER = Actor("eve", "test", role=Role.VIEWER)
NOBODY = Actor("mallory", "test", role=Role.NONE)


async def why(harness: Harness, target: str, actor: Actor = ANN) -> WhyAnswer:
    return await harness.running.control_plane.pull_requests.why.ask(target_of(target), actor)


def named(event: ChangeEvent) -> str:
    return f"acme/shop#{event.change.number}"


async def assert_why(gate: Gate, target: str, code: str, *, rule: str = "", said: str = "") -> None:
    found = (await why(gate, target)).why
    assert (found.code, found.rule) == (code, rule), found
    assert said in f"{found.message} {found.hint}"
    assert found.message.endswith((".", "!", "?", "`"))


RULES = [
    ({"labels": ("preview",)}, {}, "label-missing", "labels"),
    ({"without_labels": ("wip",)}, {"labels": ("WIP",)}, "label-forbidden", "without_labels"),
    ({"title": "^feat"}, {"title": "Typo"}, "title-mismatch", "title"),
    ({"without_title": Pattern("(?i)^wip")}, {"title": "WIP: x"}, "title-forbidden", "without_title"),
    ({"authors": ("ann",)}, {"author": "bob"}, "author", "authors"),
    ({"bases": ("release/*",)}, {}, "base-branch", "bases"),
    ({"drafts": False}, {"draft": True}, "draft", "drafts"),
    ({}, {"author_is_bot": True}, "bot", "bots"),
    ({"paths": ("web/*",)}, {}, "paths", "paths"),
]


class TestRules:
    @pytest.mark.parametrize(("rules", "given", "code", "setting"), RULES)
    async def test_the_answer_names_the_rule(
        self, rules: dict[str, Any], given: dict[str, Any], code: str, setting: str
    ) -> None:
        async with ruled(**rules).open() as gate:
            event = await gate.opened(**given)
            suspension = (await gate.the()).desired.suspension

            assert suspension is not None
            rule = f"images.shop.pull_requests.{setting}"
            await assert_why(gate, named(event), code, rule=rule, said=suspension.message)
            assert gate.forge.statuses[-1].announcement.description == suspension.message

    @pytest.mark.parametrize("given", [{"title": "x [skip preview]"}, {"description": "[no preview]"}])
    async def test_opted_out(self, given: dict[str, Any]) -> None:
        async with ruled().open() as gate:
            event = await gate.opened(**given)

            await assert_why(gate, named(event), "opted-out", said="opted out")

    @pytest.mark.parametrize("outcome", ["none", "pending", "failure"])
    async def test_checks(self, outcome: Any) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            if outcome != "none":
                gate.forge.check(gate.repository, SHA, outcome)
            event = await gate.opened()

            rule = "images.shop.pull_requests.wait_for_checks"
            await assert_why(gate, named(event), f"checks-{outcome}", rule=rule, said="checks")

    async def test_a_fork_that_waits_for_approval(self) -> None:
        async with forked("approve").open() as gate:
            event = await gate.opened_by_fork()

            await assert_why(gate, named(event), "approval", rule="images.shop.forks", said=SHA)

    async def test_forks_are_off(self) -> None:
        async with forked("off").open() as gate:
            event = await gate.opened_by_fork()

            await assert_why(gate, named(event), "fork", rule="images.shop.forks", said="are off")

    async def test_a_silent_forge(self) -> None:
        async with ruled(paths=("web/*",)).open() as gate:
            event = gate.forge.open(gate.repository, "feature-x", SHA)
            gate.forge.fault_mode = FaultMode.FAILING
            await gate.deliver(event)
            await gate.rest(60)

            await assert_why(gate, named(event), "forge-unavailable", said="doesn't answer")

    async def test_rules_that_need_a_forge_without_one(self) -> None:
        gate = Gate([replace(APP, rules=replace(APP.rules, paths=("web/*",)))], credentials=False)
        async with gate.open():
            event = await gate.opened()

            await assert_why(gate, named(event), "forge-not-connected", said="Configure credentials")


class TestLife:
    async def test_live(self) -> None:
        async with ruled().open() as gate:
            event = await gate.opened()
            answer = await why(gate, named(event), VIEWER)

            assert answer.why.code == "live"
            assert answer.environment is not None

    async def test_killed(self) -> None:
        async with ruled().open() as gate:
            event = await gate.opened()
            await gate.running.commands.kill_by_id((await gate.the()).id, ANN)
            await gate.rest(30)

            await assert_why(gate, named(event), "killed", said="stopped manually")

    async def test_closed(self) -> None:
        async with ruled().open() as gate:
            event = await gate.opened()
            await gate.happened(gate.forge.close(event))

            await assert_why(gate, named(event), "closed", said="Reopen")

    async def test_merged(self) -> None:
        async with ruled().open() as gate:
            event = await gate.opened()
            await gate.happened(gate.forge.close(event, merged=True))

            await assert_why(gate, named(event), "merged", said="merged")

    async def test_expired(self) -> None:
        async with Gate([replace(APP, expire_after=86_400.0)]).open() as gate:
            event = await gate.opened()
            await gate.rest(87_000)

            await assert_why(
                gate, named(event), "expired", rule="images.shop.expire_after", said="no visit and no push"
            )

    async def test_waits_for_room(self) -> None:
        gate = Gate([APP], limits=Limits(host=Limit(running=1)))
        async with gate.open():
            await gate.opened()
            event = await gate.opened(OTHER, "feature-y")

            await assert_why(gate, named(event), "queued-running", rule="capacity", said="queue is 1")

    async def test_the_image_is_missing(self) -> None:
        async with Gate([replace(APP, image="acme/none:1")]).open() as gate:
            event = await gate.opened()
            await gate.rest(300)

            await assert_why(gate, named(event), "image-missing", said="acme/none:1")

    @pytest.mark.parametrize(
        ("program", "code"),
        [
            (Program(exit_code=1), "exited"),
            (Program(status=None, exit_code=137, hungry=True), "out-of-memory"),
            (Program(status=None), "no-answer"),
            (Program(status=500), "wrong-status"),
            (Program(starts=False), "start-failed"),
        ],
    )
    async def test_its_application_fails(self, program: Program, code: str) -> None:
        async with ruled().open() as gate:
            gate.engine.add_image(IMAGE, program)
            event = await gate.opened()
            await gate.rest(900)

            await assert_why(gate, named(event), code)

    async def test_no_room_any_more(self) -> None:
        async with Gate([APP], max_previews=1).open() as gate:
            event = await gate.opened()
            await gate.skip(90_000)
            await gate.opened(OTHER, "feature-y")
            await gate.rest(300)

            assert (await why(gate, named(event))).why.code in ("no-room", "live")

    async def test_asleep(self) -> None:
        async with ruled().open() as gate:
            event = await gate.opened()
            await gate.running.control_plane.environments.power.sleep((await gate.the()).id)
            await gate.rest(30)

            await assert_why(gate, named(event), "asleep")


class TestDeliveries:
    async def test_no_application_is_for_the_repository(self) -> None:
        async with ruled().open() as gate:
            event = gate.forge.open(gate.forge.add_repository("acme", "blog"), "x", SHA)
            await gate.happened(event)

            await assert_why(gate, "acme/blog#1", "no-application", rule="images", said="repo: acme/blog")

    async def test_bound_to_another_repository_of_the_name(self) -> None:
        async with Gate([SHOP]).open() as gate:
            await gate.opened()
            other = gate.forge.add_repository("evil", "shop")
            event = await gate.happened(gate.forge.open(other, "x", SHA))

            await assert_why(
                gate, f"evil/shop#{event.change.number}", "repository-bound", rule="images", said="repo_owner"
            )

    async def test_nothing_has_arrived(self) -> None:
        async with ruled().open() as gate:
            await assert_why(gate, "acme/shop#7", "not-received", said="webhook")

    async def test_not_connected_at_all(self) -> None:
        async with Gate([APP], credentials=False).open() as gate:
            await assert_why(gate, "acme/shop#7", "forge-not-connected", rule="github")

    async def test_others_have_arrived(self) -> None:
        async with ruled().open() as gate:
            await gate.opened()

            await assert_why(gate, "acme/shop#99", "pull-request-unknown", said="redeliver")

    async def test_a_wrong_signature(self) -> None:
        async with ruled().open() as gate:
            error = Refused("The delivery's signature is wrong.", hint="Set it.", reason="signature-wrong")
            await gate.running.control_plane.pull_requests.deliveries.refused("github", error)
            await gate.rest(30)

            await assert_why(gate, "acme/shop#7", "delivery-refused", said="signature is wrong")
            hidden = (await why(gate, "acme/shop#7", VIEWER)).why
            assert (hidden.code, "signature" in hidden.message) == ("delivery-refused", False)

    async def test_no_listener_takes_it(self) -> None:
        async with Gate([APP], listeners=[]).open() as gate:
            event = await gate.opened()

            await assert_why(gate, named(event), "no-listener", rule="event_listeners")

    async def test_it_failed(self) -> None:
        async with Gate([APP], credentials=False).open() as gate:
            event = gate.forge.open(gate.repository, "feature-x", SHA)
            delivery = gate.forge.delivery(event)
            now = gate.running.clock.now()
            await gate.store.write(lambda tx: tx.add_delivery(delivery, now))
            await gate.store.write(
                lambda tx: tx.finish_delivery(delivery, "failed: a bug", now, named(event))
            )
            await assert_why(gate, named(event), "delivery-failed", said="a bug")

            assert "a bug" not in (await why(gate, named(event), VIEWER)).why.message

    @pytest.mark.parametrize(
        ("outcome", "code"),
        [
            ("", "delivery-waiting"),
            (
                "retry: GitHub's rate limit is reached; the next request is allowed in 60 s.",
                "forge-rate-limit",
            ),
            ("retry: GitHub doesn't answer.", "forge-unavailable"),
            ("failed: a bug of Stager's, see its log", "delivery-failed"),
        ],
    )
    def test_its_outcome_explains_it(self, outcome: str, code: str) -> None:
        delivery = LastDelivery("pull_request", outcome)

        assert decide(Facts(Target("acme/shop", 7), APP, delivery=delivery)).code == code

    def test_its_processing_never_ended(self) -> None:
        delivery = LastDelivery("pull_request", "set aside: Stager crashed", is_set_aside=True)

        assert decide(Facts(Target("acme/shop", 7), APP, delivery=delivery)).code == "delivery-set-aside"

    async def test_a_listener_that_skips(self) -> None:
        async with Gate([APP], listeners=[Deciding(Skip("not on Fridays"))]).open() as gate:
            event = await gate.opened()

            await assert_why(gate, named(event), "listener", said="not on Fridays")


class TestBranches:
    async def test_without_a_pull_request(self) -> None:
        async with ruled().open() as gate:
            await gate.opened()

            await assert_why(gate, "acme/shop#other", "branch-without-pull-request", said="launch the branch")

    async def test_of_a_pull_request(self) -> None:
        async with ruled(drafts=False).open() as gate:
            await gate.opened(draft=True)

            await assert_why(gate, "acme/shop#feature-x", "draft", rule="images.shop.pull_requests.drafts")

    async def test_launched_by_hand(self) -> None:
        async with ruled().open() as gate:
            await gate.launch("feature-y")
            await gate.rest(30)

            await assert_why(gate, "acme/shop#feature-y", "live")


class TestWhoMay:
    @pytest.mark.parametrize("target", ["acme/shop#1", "acme/nothing#1", "acme/shop#feature-x"])
    async def test_a_hidden_repository_looks_like_an_unknown_one(self, target: str) -> None:
        async with ruled(drafts=False).open() as gate:
            await gate.opened(draft=True)
            answer = await why(gate, target, NOBODY)

            repository = target.partition("#")[0]
            assert answer.environment is None
            assert answer.why.code == "application-unknown"
            assert (
                answer.why.message == f"No application is for {repository}, or you may not see its previews."
            )

    @pytest.mark.parametrize("target", ["acme/shop#1", "acme/none#1"])
    async def test_deliveries_arent_read_for_somebody_who_may_not_see_it(
        self, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with ruled(drafts=False).open() as gate:
            await gate.opened(draft=True)

            def refuse(*_: object) -> None:
                raise AssertionError("read before the permission was checked")

            monkeypatch.setattr("stager.control.pull_requests.why._with_deliveries", refuse)
            assert (await why(gate, target, NOBODY)).why.code == "application-unknown"


class TestTargets:
    @pytest.mark.parametrize(
        ("text", "target"),
        [
            ("acme/shop#7", Target("acme/shop", 7)),
            (" acme/shop#feature/x ", Target("acme/shop", branch="feature/x")),
            ("https://github.com/acme/shop/pull/7", Target("acme/shop", 7)),
            ("https://github.com/acme/shop/pull/7/files#diff", Target("acme/shop", 7)),
        ],
    )
    def test_are_read(self, text: str, target: Target) -> None:
        assert target_of(text) == target

    @pytest.mark.parametrize("text", ["", "shop", "acme/shop", "acme/shop#", "a b/c#1", "#7", "x" * 5_000])
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(Refused, match="isn't a pull request"):
            target_of(text)
