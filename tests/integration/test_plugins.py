"""Classes of one's own change what Stager does, by files and configuration, and never prevent a preview."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.pulls import Pull
from tests.integration.stager import StagerUnderTest, until

pytestmark = pytest.mark.docker

LAUNCH_NAMED_FOO = '''
from stager import ChangeEvent, EventListener, LaunchPreview

class LaunchNamedFoo(EventListener):
    """Launches only branches with foo in their name."""

    def handle(self, event):
        if isinstance(event, ChangeEvent) and "foo" in event.change.head_ref:
            return LaunchPreview(parameters={"VERSION": "by-foo"})
'''

GREET = '''
from pathlib import Path
from pydantic import BaseModel
from stager import PostLaunchHandler, PreKillHandler
from .words import FAREWELL

class Greet(PostLaunchHandler, PreKillHandler):
    """Writes what it hears into a file."""

    class Settings(BaseModel):
        file: Path
        greeting: str = "hello"

    def __init__(self, settings):
        self.file, self.greeting = settings.file, settings.greeting

    def launched(self, preview):
        self.write(f"{self.greeting} {preview.container_name} {preview.generation}")

    async def killing(self, preview):
        self.write(f"{FAREWELL} {preview.container_name}")

    def write(self, line):
        with self.file.open("a") as file:
            file.write(line + "\\n")
'''

BAD = '''
import time
from stager import EventListener, PostLaunchHandler, PreKillHandler

class Raises(PostLaunchHandler, PreKillHandler, EventListener):
    """Fails at everything."""
    def handle(self, event):
        raise ValueError("no idea")
    def launched(self, preview):
        raise ValueError("no greeting")
    def killing(self, preview):
        raise SystemExit(3)

class Hangs(PostLaunchHandler, EventListener):
    """Never comes back."""
    def handle(self, event):
        return "nonsense"
    def launched(self, preview):
        time.sleep(3600)
'''

GATE = '''
from stager import PreLaunchHandler, Refused

class Gate(PreLaunchHandler):
    """Knows what may run."""
    async def prepare(self, preview, variables):
        if variables.get("VERSION") == "forbidden":
            raise Refused("That version is forbidden here.", hint="Take another.", reason="forbidden")
        if variables.get("VERSION") == "odd":
            raise KeyError("odd")
        return {"VERSION": "amended", "STAGER_URL": "http://forged.example"}
'''

LETMEIN = '''
from stager import Actor, AuthenticationStrategy

class SharedPassword(AuthenticationStrategy):
    """Any user who knows the word."""
    short_name = "shared"
    def authenticate(self, credentials):
        if credentials.parameters.get("word") == "sesame":
            return Actor("anybody", "SharedPassword")
'''


def with_files(make_stager: MakeStager, files: dict[str, str], **configuration: object) -> StagerUnderTest:
    """A Stager with these files beside its configuration."""
    stager = make_stager(start=False, **configuration)
    for name, text in files.items():
        path = stager.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    stager.start()
    return stager


@pytest.mark.requirement("R17", "R61", "R64")
@pytest.mark.parametrize("folder", ["plugins", "custom_request_handlers"])
def test_a_file_and_a_line_change_what_pull_requests_do(make_stager: MakeStager, folder: str) -> None:
    stager = with_files(make_stager, {f"{folder}/foo.py": LAUNCH_NAMED_FOO}, event_listeners="LaunchNamedFoo")
    stager.deliver(Pull(1, "a-foo-branch").opened())
    stager.deliver(Pull(2, "another").opened())
    stager.wait_for("a-foo-branch", "live")
    assert stager.get("a-foo-branch").text == "a-foo-branch by-foo"
    assert [e["name"] for e in stager.api()] == ["a-foo-branch"]


@pytest.mark.requirement("R61", "R65")
def test_a_line_less_switches_off_that_and_nothing_else(make_stager: MakeStager) -> None:
    stager = make_stager(event_listeners=["LaunchOnGithubPullRequestOpened"])
    pull = Pull()
    stager.deliver(pull.opened())
    stager.wait_for(pull.ref, "live")
    stager.deliver(pull.closed())
    until(lambda: len(stager.log.read_text().split("delivery_done")) > 2, "the second is worked through")
    assert stager.environment(pull.ref)["state"] == "live"


@pytest.mark.requirement("R17", "R64")
def test_handlers_with_settings_hear_of_launch_refresh_and_kill_once(make_stager: MakeStager) -> None:
    files = {"plugins/greet.py": GREET, "plugins/words.py": 'FAREWELL = "farewell"'}
    stager = with_files(
        make_stager,
        files,
        post_launch_handlers="Greet",
        pre_kill_handlers="Greet",
        handlers={"Greet": {"file": "heard.txt", "greeting": "ahoy"}},
    )
    heard = stager.folder / "heard.txt"
    stager.launched("one")
    until(
        lambda: "post_launch_done" in stager.log.read_text(),
        "it was told of the launch, and that is written down",
    )
    stager.restart()
    stager.launched("one")
    until(lambda: "ahoy one 2" in heard.read_text(), "it was told of the refresh")
    stager.kill("one")
    assert heard.read_text().splitlines() == ["ahoy one 1", "ahoy one 2", "farewell one"]


def test_handlers_that_fail_or_hang_dont_prevent_the_preview(make_stager: MakeStager) -> None:
    stager = with_files(
        make_stager,
        {"plugins/bad.py": BAD},
        event_listeners=["Raises", "Hangs", "LaunchOnGithubPullRequestOpened"],
        post_launch_handlers=["Raises", "Hangs"],
        pre_kill_handlers=["Raises"],
    )
    pull = Pull()
    stager.deliver(pull.opened())
    environment = stager.wait_for(pull.ref, "live")
    assert stager.get(pull.ref).text.startswith(pull.ref)
    until(lambda: 'stager_handler_failures_total{handler="Raises"} 2.0' in _metrics(stager), "it is counted")
    stager.launched("by-hand")
    assert stager.kill("by-hand").text == "ok"
    until(lambda: "handler_failed" in stager.log.read_text(), "it is logged")
    assert "ValueError: no greeting" in stager.log.read_text()
    assert "The listener Hangs returned str for a pull request event." in stager.log.read_text()
    assert environment["state"] == "live"
    assert stager.terminate() == 0, "a thread that hangs doesn't keep Stager from stopping"


def test_what_failed_is_noted_with_the_deployment(make_stager: MakeStager) -> None:
    stager = with_files(make_stager, {"plugins/bad.py": BAD}, post_launch_handlers="Raises")
    stager.launched("x")
    path = f"/environments/{stager.environment('x')['id']}/deployments"
    [note] = until(lambda: stager.api(path)[0]["notes"], "it is noted")
    assert note == "The handler Raises failed: ValueError: no greeting. The traceback is in Stager's log."


def test_a_gate_amends_refuses_and_is_named_when_it_fails(make_stager: MakeStager) -> None:
    stager = with_files(make_stager, {"plugins/gate.py": GATE}, pre_launch_handlers=["Gate"])
    stager.launched("fine")
    assert stager.get("fine").text == "fine amended"
    [container] = stager.containers("label=stager.name=fine")
    variables = stager.inspect(container)["Config"]["Env"]
    assert f"STAGER_URL=http://{stager.host('fine')}" in variables, "what we say of ourselves stays true"

    refused = stager.launch("refused", VERSION="forbidden")
    assert "That version is forbidden here. Take another." in refused.text
    broken = stager.launch("broken", VERSION="odd")
    assert "The handler Gate failed: KeyError: 'odd'" in broken.text
    assert {refused.status_code, broken.status_code} == {503}
    assert len(stager.containers()) == 1


@pytest.mark.requirement("R64")
def test_an_authentication_strategy_of_ones_own(make_stager: MakeStager) -> None:
    stager = with_files(make_stager, {"plugins/shared.py": LETMEIN}, authentication_strategy="shared")
    assert stager.launch("x").status_code == 401
    assert stager.launch("x", word="sesame").status_code == 200


def test_status_report_answers_those_who_are_known(make_stager: MakeStager) -> None:
    stager = make_stager(event_listeners=["RequestInspector", "StatusReport"])
    url = stager.launched("test")
    answer = stager.post("/event_receiver", action="status", image_name="shop")
    [row] = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert (row["image_name"], row["container_name"], row["url"]) == ("shop", "test", url)
    assert row["started_at"]
    assert stager.post("/event_receiver", action="status", image_name="other").json() == []
    assert (
        stager.get("localhost", "/event_receiver?action=status", Host=f"localhost:{stager.port}").status_code
        == 401
    )
    assert "call status with image_name" in stager.log.read_text()


@pytest.mark.parametrize("strategy", ["", "EvergreenExceptionsContainerRotationStrategy"])
def test_one_too_many_makes_another_go(make_stager: MakeStager, strategy: str) -> None:
    stager = make_stager(max_previews=2, container_rotation_strategy=strategy, evergreen_containers=["one"])
    for name in ("one", "two"):
        stager.launched(name)
    assert stager.launch("three", image="no-such-app").status_code == 400
    assert {e["name"] for e in stager.api()} == {"one", "two"}, "nobody goes for what is refused"
    stager.launched("three")
    staying = {"one", "three"} if strategy else {"two", "three"}
    until(lambda: len(stager.containers()) == 2, "one of them has gone")
    assert {e["name"] for e in stager.api()} == staying


def test_start_parameters_of_the_first_stager_are_merged(make_stager: MakeStager) -> None:
    app = {
        "container_create_params": {"Tty": True, "HostConfig": {"ShmSize": 1 << 26}},
        "container_start_params": {"CapAdd": ["NET_RAW"], "CpuShares": 512},
        "allow_create_params": ["CapAdd"],
    }
    stager = make_stager(images={"shop": app})
    stager.launched()
    found = stager.inspect(stager.containers()[0])
    host = found["HostConfig"]
    assert found["Config"]["Tty"] is True
    assert (host["ShmSize"], host["CpuShares"]) == (1 << 26, 512)
    assert [c.removeprefix("CAP_") for c in host["CapAdd"]] == ["NET_RAW"]


def test_everything_that_is_wrong_is_reported_at_the_start(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "broken.py").write_text("import os\n\nraise ImportError('what was I thinking')\n")
    (plugins / "syntax.py").write_text("def f(:\n")
    (plugins / "twice.py").write_text(
        "from stager import PreKillHandler as P\nclass StatusReport(P):\n    def killing(self, p): ...\n"
    )
    (plugins / "half.py").write_text("from stager import PreKillHandler\nclass Half(PreKillHandler): ...\n")
    config = tmp_path / "config.yml"
    config.write_text(
        "event_listeners: [LaunchOnGithubPullRequestOpend]\npost_launch_handlers: [StatusReport]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "stager", "serve", "--config", str(config)],
        capture_output=True, text=True, check=False, env=os.environ, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    for line in (
        "plugins/broken.py:3: can't be imported: ImportError: what was I thinking",
        "plugins/syntax.py:1: can't be imported: SyntaxError: invalid syntax",
        "plugins/twice.py: has StatusReport, which Stager has, too",
        "plugins/half.py: Half lacks the method killing",
        'event_listeners[0]: unknown name; did you mean "LaunchOnGithubPullRequestOpened"?',
        'post_launch_handlers[0]: "StatusReport" belongs under `event_listeners`',
    ):
        assert line in done.stderr
    assert "Traceback" not in done.stderr


def _metrics(stager: StagerUnderTest) -> str:
    return stager._client.get(f"{stager.url}/metrics", headers={"Host": f"localhost:{stager.port}"},
                              auth=("testuser", "test:password")).text  # fmt: skip


STARTER = '''
from stager import EventListener, Kill, Launch

class Starter(EventListener):
    """Launches and kills on call."""
    actions = ("start", "stop")
    def handle(self, event):
        kind = Launch if event.name == "start" else Kill
        return kind("shop", event.parameters["name"])
'''


@pytest.mark.requirement("R64")
def test_a_call_may_launch_and_kill_but_not_by_a_link(make_stager: MakeStager) -> None:
    stager = with_files(make_stager, {"plugins/starter.py": STARTER}, event_listeners="Starter")
    link = stager._client.get(
        f"{stager.url}/event_receiver?action=start&name=x",
        headers={"Host": f"localhost:{stager.port}"},
        auth=("testuser", "test:password"),
    )
    assert link.status_code == 405
    assert "must be sent with POST" in link.text
    assert stager.containers() == []
    assert stager.post("/event_receiver", action="start", name="x").text == f"http://{stager.host('x')}"
    assert stager.post("/event_receiver", action="stop", name="x").text == "ok"
    assert stager.containers() == []
    assert stager.post("/event_receiver", action="unheard-of").text == ""
