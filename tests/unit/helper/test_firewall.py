"""The firewall's memory of installations, as far as it needs no root."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from stager.helper.firewall import firewall as module
from stager.helper.firewall.firewall import TRIES, Firewall
from stager.helper.firewall.policy import POLICIES
from stager.helper.firewall.rules import FirewallOptions
from stager.helper.protocol import HelperError


class WithoutRules(Firewall):
    """Sets none on this machine."""

    def ensure(self) -> bool:
        return True


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "helper.sock.policies"


@pytest.fixture
def firewall(memory: Path) -> Firewall:
    return WithoutRules(FirewallOptions(log_group=0), memory)


def apply(firewall: Firewall, number: int, *ports: int) -> Any:
    [verb, *_] = firewall.verbs()
    given = {"tag": f"{number:04x}", "ports": list(ports), "groups": [], "builder_allow": []}
    return verb.run(verb.shape(given, "fields"))


def remembered(memory: Path) -> list[int]:
    return [int(policy["tag"], 16) for policy in json.loads(memory.read_text())]


def test_installations_that_are_gone_leave_room_for_new_ones(
    firewall: Firewall, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each new state directory is one, such as those of demonstrations and tests."""
    monkeypatch.setattr(module, "active_tags", lambda: {"0000", "0002"})
    for number in range(POLICIES + 2):
        assert apply(firewall, number) == {"changed": True}
    assert remembered(memory) == [0, 2, *range(4, POLICIES + 2)]


def test_one_with_previews_is_never_removed(
    firewall: Firewall, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "active_tags", lambda: {f"{number:04x}" for number in range(POLICIES)})
    for number in range(POLICIES):
        apply(firewall, number)
    with pytest.raises(HelperError) as caught:
        apply(firewall, POLICIES)
    assert caught.value.reason == "too-many"
    assert apply(firewall, 3, 443) == {"changed": True}, "those that are known go on"
    assert remembered(memory) == list(range(POLICIES))


def test_bridges_identify_the_installations_with_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["lo", "pvt00ab12345678", "pvf00cd12345678", "docker0", "pvfbuild", "br-00ef"]
    monkeypatch.setattr(socket, "if_nameindex", lambda: list(enumerate(names)))
    assert {"00ab", "00cd"} <= module.active_tags()
    assert "00ef" not in module.active_tags()


class Kernel:
    """The filter table, as `iptables-restore` sets it and `iptables-save` prints it.

    Args:
        misses: how many changes aren't found afterwards, as while Docker moves its own jump.
    """

    def __init__(self, misses: int) -> None:
        self.misses = misses
        self.changes = 0
        self._text = ""

    def save(self, _: int) -> str:
        return "" if self.changes <= self.misses else self._text

    def restore(self, _: int, text: str) -> None:
        self.changes += 1
        lines = (
            line.replace("-I INPUT 1", "-A INPUT").replace("-I FORWARD 1", "-A FORWARD")
            for line in text.splitlines()
        )
        self._text = "\n".join([":INPUT ACCEPT", ":FORWARD ACCEPT", *lines])


@pytest.mark.parametrize(("misses", "changes"), [(0, 1), (1, 2), (TRIES - 1, TRIES)])
def test_rules_that_one_read_misses_are_set_again(
    memory: Path, monkeypatch: pytest.MonkeyPatch, misses: int, changes: int
) -> None:
    kernel = Kernel(misses)
    monkeypatch.setattr(module, "iptables", kernel)
    assert Firewall(FirewallOptions(log_group=0), memory)._ensure(4, ())
    assert kernel.changes == changes


def test_rules_that_stay_away_are_an_error(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(TRIES)
    monkeypatch.setattr(module, "iptables", kernel)
    with pytest.raises(HelperError, match="are missing again"):
        Firewall(FirewallOptions(log_group=0), memory)._ensure(4, ())
    assert kernel.changes == TRIES
