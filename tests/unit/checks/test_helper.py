"""What `stager doctor` says of the root helper."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stager.checks.helper import HelperCheck
from stager.helper.shapes import fields, text
from stager.helper.verbs import Feature, Verb
from stager.ports.diagnostics import Finding, Verdict
from tests.unit.helper.serving import served

ROW = {
    "bridge": "pvtab1200000001",
    "address": "10.0.0.5",
    "port": 5432,
    "protocol": "tcp",
    "count": 2,
    "last": 1,
}


class Answering(Feature):
    name = "firewall"

    def __init__(self, lack: str = "", deaf: str = "") -> None:
        self._lack, self._deaf = lack, deaf

    def unavailable(self) -> str:
        return self._lack

    def verbs(self) -> Iterable[Verb]:
        rows = [ROW, {**ROW, "bridge": "pvtab1200000002"}, {**ROW, "port": 0, "protocol": "icmp"}]
        answer = {"blocked": rows, "unavailable": self._deaf}
        yield Verb("firewall-blocked", fields(tag=text("ab12", "it")), lambda _: answer, "blocked")


async def look(
    socket: Path, mode: str = "auto", *, tag: str = "ab12", was_used: bool = False
) -> list[Finding]:
    return list(await HelperCheck(mode, socket, tag, was_used=was_used).run())


async def test_without_it_what_is_open_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "none.sock"
    for mode, was_used, verdict in (
        ("off", False, Verdict.WARNING),
        ("auto", False, Verdict.WARNING),
        ("auto", True, Verdict.ERROR),
        ("required", False, Verdict.ERROR),
    ):
        [finding] = await look(nowhere, mode, was_used=was_used)
        assert finding.verdict is verdict
        assert finding.message.startswith("Previews can reach services of this machine")
        assert "root-helper.md" in finding.hint


async def test_with_it_what_was_blocked_is_named_with_what_opens_it(tmp_path: Path) -> None:
    async with served(tmp_path, Answering()) as path:
        answers, database, ping = await look(path)
        assert len(await look(path, tag="")) == 1
    assert answers.message.startswith("stager-helper 1.2.3 answers")
    assert "10.0.0.5:5432 (tcp), at least 4 times" in database.message
    assert 'egress_allow: ["10.0.0.5:5432"]' in database.hint
    assert (ping.verdict, ping.hint) == (Verdict.OK, "")
    assert "10.0.0.5 (icmp)" in ping.message


async def test_what_it_cant_do_is_named(tmp_path: Path) -> None:
    async with served(tmp_path, Answering("No iptables.", "No NFLOG.")) as path:
        found = await look(path)
        strict = await look(path, "required")
    assert [f.message for f in found if f.verdict is Verdict.WARNING] == [
        "The helper's firewall isn't available: No iptables.", "No NFLOG.",
    ]  # fmt: skip
    assert strict[1].verdict is Verdict.ERROR
