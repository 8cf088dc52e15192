"""The root helper: whether it is there, what it can do, and what its firewall rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stager.domain.egress import Destination
from stager.domain.errors import StagerError
from stager.helper_client import HelperClient
from stager.ports.diagnostics import Finding, Verdict

OPEN = "Previews reach services of this machine and its private networks"
INSTALL = "docs/how-to/root-helper.md says how to install the root helper."
SHOWN = 10
"""Destinations that are listed, those that were tried most often."""


class HelperCheck:
    """Whether previews are guarded.

    Args:
        mode: `helper` in the configuration.
        socket: `helper_socket`.
        tag: what the names of this installation's bridges have in common; empty while there is none.
        was_used: whether Stager refuses to start without it.
    """

    subject = "helper"

    def __init__(self, mode: str, socket: Path, tag: str, *, was_used: bool) -> None:
        self._mode, self._socket, self._tag = mode, socket, tag
        self._must = mode == "required" or was_used

    async def look(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.look`."""
        if self._mode == "off":
            return [self._finding(Verdict.WARNING, f"{OPEN}, because of `helper: off`.", INSTALL)]
        client = HelperClient(self._socket)
        try:
            told = await client.call("hello")
        except StagerError as error:
            verdict = Verdict.WRONG if self._must else Verdict.WARNING
            return [self._finding(verdict, f"{OPEN}: {error.message}", INSTALL)]
        return [*self._features(told), *await self._blocked(client)]

    def _features(self, told: dict[str, Any]) -> list[Finding]:
        found = [self._finding(Verdict.FINE, f"stager-helper {told['version']} answers at {self._socket}.")]
        for name, lack in told["features"].items():
            if lack:
                verdict = Verdict.WRONG if self._must and name == "firewall" else Verdict.WARNING
                found.append(self._finding(verdict, f"Its {name} isn't available: {lack}"))
        return found

    async def _blocked(self, client: HelperClient) -> list[Finding]:
        """What previews were kept from lately, each with the entry that opens it."""
        if not self._tag:
            return []
        try:
            told = await client.call("firewall-blocked", tag=self._tag)
        except StagerError as error:
            return [self._finding(Verdict.WARNING, error.message, error.hint)]
        counts: Counter[tuple[str, int, str]] = Counter()
        for row in told["blocked"]:
            counts[row["address"], row["port"], row["protocol"]] += row["count"]
        found = [self._rejected(*target, count) for target, count in counts.most_common(SHOWN)]
        if told["unavailable"]:
            found.append(self._finding(Verdict.WARNING, str(told["unavailable"])))
        return found

    def _rejected(self, address: str, port: int, protocol: str, count: int) -> Finding:
        where = f"{Destination(address, port)}" if port else address
        hint = f'`egress_allow: ["{where}"]` of their application opens it.' if port else ""
        message = f"Previews were kept from {where} ({protocol}), at least {count} times."
        return self._finding(Verdict.FINE, message, hint)

    def _finding(self, verdict: Verdict, message: str, hint: str = "") -> Finding:
        return Finding(self.subject, verdict, message, hint)
