"""How and when a class of each kind is called; in a whole Stager over fakes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence

import pytest

from stager import (
    Actor,
    AuthenticationStrategy,
    Call,
    ChangeEvent,
    Command,
    ContainerRotationStrategy,
    Credentials,
    Decision,
    EventListener,
    Fault,
    Kill,
    Launch,
    LaunchPreview,
    PostLaunchHandler,
    PreKillHandler,
    PreLaunchHandler,
    Preview,
    Refused,
    RemovePreview,
    Reply,
    StagerError,
)
from stager.testing.harness import Harness

heard: list[str] = []


@pytest.fixture(autouse=True)
def _silence() -> None:
    heard.clear()


class OnlyFoo(EventListener):
    """Launches branches with foo in them, and answers calls."""

    actions = ("greet", "start", "stop", "whoami", "broken", "decide")

    def handle(self, event: ChangeEvent | Call) -> Decision | Command | None:
        if isinstance(event, ChangeEvent):
            return LaunchPreview(parameters={"BY": "foo"}) if "foo" in event.change.head_ref else None
        if event.name == "broken":
            raise ValueError("at a loss")
        if event.name == "decide":
            return RemovePreview()
        if event.name == "greet":
            raise Refused("Not today.", reason="mood")
        if event.name == "start":
            return Launch("shop", event.parameters["name"])
        if event.name == "stop":
            return Kill("shop", event.parameters["name"])
        return Reply(str(event.actor))


class Door(EventListener):
    """Answers anybody."""

    actions = ("knock",)
    requires_authentication = False

    async def handle(self, event: ChangeEvent | Call) -> Command | None:
        return Reply(f"{event.actor} {event.parameters}") if isinstance(event, Call) else None


class TestEventListener:
    def test_the_first_that_takes_an_event_has_it(self) -> None:
        with Harness(OnlyFoo) as stager:
            mine, other = stager.open_pull_request("foo"), stager.open_pull_request("bar")
            assert mine is not None
            assert other is not None
            assert stager.variables(mine)["BY"] == "foo"
            assert "BY" not in stager.variables(other)

    def test_a_call_is_answered_by_the_listener_with_its_action(self) -> None:
        with Harness(OnlyFoo, Door) as stager:
            assert stager.call("knock", authenticated=False, a="1") == Reply("None {'a': '1'}")
            assert stager.call("whoami") == Reply("tester (harness)")
            assert stager.call("unheard-of", authenticated=False) is None

    def test_a_call_is_authenticated_before_it_is_answered(self) -> None:
        with Harness(OnlyFoo) as stager, pytest.raises(Refused, match="Unauthorized"):
            stager.call("start", authenticated=False, name="x")

    def test_a_call_may_launch_and_kill(self) -> None:
        with Harness(OnlyFoo) as stager:
            preview = stager.call("start", name="x")
            assert stager.running == [preview]
            stager.call("stop", name="x")
            assert stager.running == []

    def test_a_call_reports_what_went_wrong(self) -> None:
        with Harness(OnlyFoo) as stager:
            with pytest.raises(Refused, match="Not today"):
                stager.call("greet")
            with pytest.raises(Fault, match="The handler OnlyFoo failed: ValueError: at a loss"):
                stager.call("broken")

    def test_a_decision_answers_no_call(self) -> None:
        with (
            Harness(OnlyFoo) as stager,
            pytest.raises(
                Fault,
                match=r"The listener OnlyFoo returned RemovePreview for a call.*Launch, Kill, Reply or None",
            ) as caught,
        ):
            stager.call("decide")
        assert caught.value.reason == "listener-answer-invalid"


class Amends(PreLaunchHandler):
    """Sets variables."""

    async def prepare(self, preview: Preview, variables: Mapping[str, str]) -> Mapping[str, str]:
        heard.append(f"{preview.container_name} {variables['GIVEN']}")
        return {"GIVEN": "amended", "ADDED": preview.url, "STAGER_URL": "forged"}


class Refuses(PreLaunchHandler):
    """Knows which may not run; sees what others have set."""

    def prepare(self, preview: Preview, variables: Mapping[str, str]) -> None:
        heard.append(variables.get("ADDED", ""))
        if preview.container_name == "no":
            raise Refused("That one may not run.", hint="Rename it.", reason="forbidden")


class AnswersOddly(PreLaunchHandler):
    """Gives what isn't a mapping of text."""

    def prepare(self, preview: Preview, variables: Mapping[str, str]) -> Mapping[str, str]:
        return {"PORT": 80}  # type: ignore[dict-item]


class TestPreLaunchHandler:
    def test_may_amend_what_is_not_ours(self) -> None:
        with Harness(Amends, Refuses) as stager:
            preview = stager.launch("yes", GIVEN="by hand")
            variables = stager.variables(preview)
        assert (variables["GIVEN"], variables["ADDED"]) == ("amended", preview.url)
        assert variables["STAGER_URL"] == preview.url
        assert heard == ["yes by hand", preview.url], "the next one sees what the first has set"

    def test_may_refuse(self) -> None:
        with Harness(Refuses) as stager, pytest.raises(StagerError) as caught:
            stager.launch("no")
        assert "That one may not run." in caught.value.message
        assert (caught.value.hint, caught.value.reason) == ("Rename it.", "forbidden")

    def test_a_refused_refresh_leaves_what_serves(self) -> None:
        with Harness(RefusesSecond) as stager:
            first = stager.launch("x")
            with pytest.raises(StagerError, match="Once is enough"):
                stager.launch("x")
            assert [preview.generation for preview in stager.running] == [first.generation]

    def test_one_that_fails_at_deciding_fails_the_launch_by_name(self) -> None:
        with (
            Harness(AnswersOddly) as stager,
            pytest.raises(StagerError, match="The handler AnswersOddly failed"),
        ):
            stager.launch("x")


class RefusesSecond(PreLaunchHandler):
    """Lets each up once."""

    def prepare(self, preview: Preview, variables: Mapping[str, str]) -> None:
        if preview.generation > 1:
            raise Refused("Once is enough.", reason="twice")


class Records(PostLaunchHandler, PreKillHandler):
    """Is called at both ends."""

    def launched(self, preview: Preview) -> None:
        heard.append(f"up {preview.container_name} {preview.generation}")

    async def killing(self, preview: Preview) -> None:
        heard.append(f"down {preview.container_name} {preview.generation}")


class Fails(PostLaunchHandler, PreKillHandler):
    """Fails at both."""

    async def launched(self, preview: Preview) -> None:
        raise Refused("The service is full.", reason="full")

    def killing(self, preview: Preview) -> None:
        raise SystemExit(3)


class Hangs(PostLaunchHandler, PreKillHandler):
    """Does, too, each in its way."""

    async def launched(self, preview: Preview) -> None:
        await asyncio.Event().wait()

    def killing(self, preview: Preview) -> None:
        time.sleep(3600)


class TestPostLaunchHandler:
    def test_is_called_once_for_each_launch_and_refresh(self) -> None:
        with Harness(Records) as stager:
            stager.launch("x")
            stager.launch("x")
            stager.open_pull_request("y")
            stager.push("y")
        assert heard == ["up x 1", "up x 2", "up y 1", "up y 2"]

    def test_one_that_fails_or_hangs_is_noted_and_the_others_are_called(self) -> None:
        with Harness(Hangs, Fails, Records, seconds=0.05) as stager:
            preview = stager.launch("x")
            assert stager.running == [preview]
            assert stager.notes(preview) == (
                "The handler Hangs didn't end within 0.05 s.",
                "The handler Fails failed: The service is full.",
            )
        assert heard[0] == "up x 1"


class TestPreKillHandler:
    def test_is_called_for_the_end_but_not_for_a_refresh(self) -> None:
        with Harness(Records) as stager:
            stager.launch("x")
            stager.launch("x")
            stager.kill("x")
            stager.open_pull_request("y")
            stager.close_pull_request("y")
        assert [line for line in heard if line.startswith("down")] == ["down x 2", "down y 1"]

    def test_it_still_runs_then(self) -> None:
        with Harness(Looks) as stager:
            stager.launch("x")
            stager.kill("x")
        assert heard == ["running: x"]

    def test_one_that_fails_or_hangs_prevents_nothing(self) -> None:
        with Harness(Fails, Hangs, seconds=0.05) as stager:
            stager.launch("x")
            stager.kill("x")
            assert stager.running == []


class Looks(PreKillHandler):
    """Sees what is running."""

    def __init__(self, previews: object) -> None:
        self._previews = previews

    async def killing(self, preview: Preview) -> None:
        running = await self._previews.running()  # type: ignore[attr-defined]
        heard.append(f"running: {', '.join(p.container_name for p in running)}")


class Password(AuthenticationStrategy):
    """Any user who knows the word."""

    short_name = "word"

    def authenticate(self, credentials: Credentials) -> Actor | None:
        if not credentials.parameters:
            raise ValueError("nothing to go by")
        return Actor("anybody", "Password") if credentials.parameters.get("word") == "sesame" else None


class TestAuthenticationStrategy:
    def test_identifies_a_user_or_not(self) -> None:
        with Harness(Password) as stager:
            assert str(stager.authenticate(word="sesame")) == "anybody (Password)"
            with pytest.raises(Refused, match="Unauthorized"):
                stager.authenticate(word="other")

    def test_one_that_fails_identifies_no_user(self) -> None:
        with Harness(Password) as stager, pytest.raises(Refused, match="Unauthorized"):
            stager.authenticate()


class Newest(ContainerRotationStrategy):
    """The one that came last, but never `keep`; fails at `odd`."""

    def to_rotate(self, previews: Sequence[Preview]) -> Preview | None:
        names = [preview.container_name for preview in previews]
        if "odd" in names:
            raise ValueError("odd")
        return None if names[-1] == "keep" else previews[-1]


class TestContainerRotationStrategy:
    def test_without_one_the_oldest_is_removed(self) -> None:
        assert self.after("a", "b", "c") == {"b", "c"}

    def test_a_refresh_makes_young_and_removes_none(self) -> None:
        assert self.after("a", "b", "a") == {"a", "b"}
        assert self.after("a", "b", "a", "c") == {"a", "c"}

    def test_chooses(self) -> None:
        assert self.after("a", "b", "c", strategy=True) == {"a", "c"}

    def test_may_keep_them_all(self) -> None:
        with pytest.raises(StagerError, match="The limit of 2 previews is reached") as caught:
            self.after("a", "keep", "c", strategy=True)
        assert caught.value.reason == "queued"

    def test_one_that_fails_is_replaced_by_age(self) -> None:
        assert self.after("odd", "b", "c", strategy=True) == {"b", "c"}

    def test_a_pull_requests_preview_comes_back_with_the_next_push(self) -> None:
        with Harness(max_previews=1) as stager:
            stager.open_pull_request("a")
            stager.open_pull_request("b")
            assert [p.container_name for p in stager.running] == ["b"]
            stager.push("a")
            assert [p.container_name for p in stager.running] == ["a"]

    def test_none_is_removed_for_what_is_refused(self) -> None:
        with Harness(max_previews=1) as stager:
            stager.launch("a")
            with pytest.raises(Refused):
                stager.launch("default")
            assert [p.container_name for p in stager.running] == ["a"]

    @staticmethod
    def after(*names: str, strategy: bool = False) -> set[str]:
        """What runs when these were launched one after the other, where two have room."""
        classes = [Newest] if strategy else []
        with Harness(*classes, max_previews=2) as stager:
            for name in names:
                stager.launch(name)
            return {preview.container_name for preview in stager.running}


def test_what_hangs_in_threads_is_limited() -> None:
    before = threading.active_count()
    with Harness(HangsInThread, seconds=0.01) as stager:
        for _ in range(20):
            preview = stager.launch("x")
        assert threading.active_count() - before <= 16
        assert "16 earlier calls still run" in stager.notes(preview)[0]
    HangsInThread.released.set()


class HangsInThread(PostLaunchHandler):
    """Waits for the end of the test."""

    released = threading.Event()

    def launched(self, preview: Preview) -> None:
        self.released.wait(60)
