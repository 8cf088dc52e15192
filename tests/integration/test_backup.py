"""The backup of the operator's page, made while Stager works, and what comes of it."""

from __future__ import annotations

import subprocess
import sys

from tests.integration.stager import StagerUnderTest, until
from tests.unit.docs.pages import samples


def back_up(stager: StagerUnderTest) -> None:
    """As the page has it, but for the folder and the user."""
    [written] = [
        s.text for s in samples("bash") if s.page.name == "operate-stager.md" and ".backup(" in s.text
    ]
    script = written.replace("/var/lib/stager", str(stager.state)).replace(
        "sudo -u stager python3", sys.executable
    )
    assert script != written
    subprocess.run(["bash", "-e", "-c", script], check=True)


def test_a_restored_database_is_only_older(stager: StagerUnderTest) -> None:
    for name in ("before", "killed"):
        stager.launched(name, VERSION="1")
    before = stager.environment("before")["id"]
    back_up(stager)
    stager.launched("before", VERSION="2")
    stager.launched("after", VERSION="1")
    stager.kill("killed")
    stager.kill9()
    for file in stager.state.glob("stager.db*"):
        file.unlink()
    (stager.state / "backup.db").rename(stager.state / "stager.db")
    stager.start()
    # What ran is taken in; what was wished for when the copy was made comes back.
    until(lambda: stager.get("after").text == "after 1", "what is newer than the copy goes on")
    until(lambda: stager.get("killed").text == "killed 1", "what was there then is there again")
    until(lambda: stager.get("before").text in ("before 1", "before 2"), "what was changed since runs")
    assert stager.environment("before")["id"] == before, "its history is known"
    until(lambda: len(stager.containers()) == len(stager.networks()) == 3, "nothing is left over")
