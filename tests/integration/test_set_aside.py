"""Deliveries that would occupy or end the control plane, at a real one."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.pulls import Pull
from tests.integration.serving import Serving
from tests.integration.stager import StagerUnderTest, until

BRANCH = "deadly"
DEADLY = f'''
import os, signal
from stager import ChangeEvent, EventListener

class Deadly(EventListener):
    """Ends the process, as a bug in a library would."""

    async def handle(self, event):
        if isinstance(event, ChangeEvent) and event.change.head_ref == "{BRANCH}":
            os.kill(os.getpid(), signal.SIGKILL)
'''


def titled(pull: Pull, title: str) -> dict[str, Any]:
    """The delivery that opens this pull request, with a title."""
    payload = pull.opened()
    payload["pull_request"]["title"] = title
    return payload


@pytest.mark.attack(
    "A pull request's title that a title pattern matches in exponential time",
    profile="sender of webhooks",
    result="the next delivery is processed at once; RE2 matches in linear time",
)
def test_no_title_occupies_it(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": {"pull_requests": {"title": r"^(\w+\s?)+$"}}})
    began = time.monotonic()
    assert stager.deliver(titled(Pull(1, "first"), "a" * 30 + "!")).status_code == 202
    assert stager.deliver(titled(Pull(2, "second"), "A change")).status_code == 202

    stager.wait_for("second", "live")
    assert time.monotonic() - began < 60
    assert stager.environment("first")["reason"] == "rules"


def end_by(stager: StagerUnderTest) -> None:
    """The process ends by itself."""
    process = stager.process
    assert process is not None
    until(lambda: not process.runs, "the process has ended")


@pytest.mark.attack(
    "A delivery that ends the process",
    profile="sender of webhooks",
    result="set aside after two attempts; the next delivery is processed",
)
def test_one_that_ends_the_process_is_set_aside_after_the_second_time(make_stager: MakeStager) -> None:
    stager = make_stager(start=False, event_listeners=["Deadly", "LaunchOnGithubPullRequestOpened"])
    (stager.folder / "plugins").mkdir()
    (stager.folder / "plugins" / "deadly.py").write_text(DEADLY)
    stager.start()
    bad = titled(Pull(1, BRANCH), "A change")
    stager.deliver(bad, delivery="bad-one")
    end_by(stager)
    stager.process = Serving(stager.config, stager.folder, stager.log)
    end_by(stager)
    stager.start()
    stager.deliver(Pull(2, "good").opened())

    stager.wait_for("good", "live")
    ready = stager._client.get(f"{stager.url}/readyz").json()
    assert ready["notices"] == {"deliveries": "1 set aside; `stager doctor` lists them."}
    found = [f for f in stager.api("/doctor") if f["subject"] == "deliveries"]
    [finding] = [f for f in found if f["verdict"] != "ok"]
    assert finding["verdict"] == "warning"
    assert "bad-one (pull_request) was set aside: Stager crashed or hung 2 times" in finding["message"]
    entries = [json.loads(line) for line in stager.log.read_text().splitlines() if line.startswith("{")]
    assert [line["delivery"] for line in entries if line["event"] == "delivery_set_aside"] == ["bad-one"]

    assert stager.deliver(bad, delivery="bad-one").text == "accepted", "GitHub's redelivery"
    end_by(stager)
