"""Checks the root helper: whether it runs, its features, and what its firewall rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stager.domain.errors import StagerError
from stager.domain.profile import Destination
from stager.helper_client import HelperClient
from stager.ports.diagnostics import Finding, Verdict

UNPROTECTED = "Previews can reach services of this machine and its private networks"
INSTALL = "Install the root helper; see docs/how-to/root-helper.md."
MAX_LISTED = 10
"""Destinations that are listed, the most frequent ones."""


class HelperCheck:
    """Checks that the firewall of the root helper works.

    Args:
        mode: `helper` in the configuration.
        socket: `helper_socket`.
        tag: the common part of this installation's bridge names; empty if there is no installation yet.
        was_used: whether the helper was used before, so that Stager doesn't start without it.
    """

    subject = "helper"

    def __init__(self, mode: str, socket: Path, tag: str, *, was_used: bool) -> None:
        self._mode, self._socket, self._tag = mode, socket, tag
        self._is_required = mode == "required" or was_used

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        if self._mode == "off":
            return [self._finding(Verdict.WARNING, f"{UNPROTECTED}, because of `helper: off`.", INSTALL)]
        client = HelperClient(self._socket)
        try:
            reply = await client.call("hello")
        except StagerError as error:
            verdict = Verdict.ERROR if self._is_required else Verdict.WARNING
            return [self._finding(verdict, f"{UNPROTECTED}: {error.message}", INSTALL)]
        return [*self._features(reply), *await self._blocked(client)]

    def _features(self, reply: dict[str, Any]) -> list[Finding]:
        found = [self._finding(Verdict.OK, f"stager-helper {reply['version']} answers at {self._socket}.")]
        for name, reason in reply["features"].items():
            if reason:
                verdict = Verdict.ERROR if self._is_required and name == "firewall" else Verdict.WARNING
                found.append(self._finding(verdict, f"The helper's {name} isn't available: {reason}"))
        return found

    async def _blocked(self, client: HelperClient) -> list[Finding]:
        """Recently rejected connections, each with the setting that allows it."""
        if not self._tag:
            return []
        try:
            reply = await client.call("firewall-blocked", tag=self._tag)
        except StagerError as error:
            return [self._finding(Verdict.WARNING, error.message, error.hint)]
        counts: Counter[tuple[str, int, str]] = Counter()
        for row in reply["blocked"]:
            counts[row["address"], row["port"], row["protocol"]] += row["count"]
        found = [self._rejected(*target, count) for target, count in counts.most_common(MAX_LISTED)]
        if reply["unavailable"]:
            found.append(self._finding(Verdict.WARNING, str(reply["unavailable"])))
        return found

    def _rejected(self, address: str, port: int, protocol: str, count: int) -> Finding:
        where = f"{Destination(address, port)}" if port else address
        hint = f'To allow it, set `egress_allow: ["{where}"]` for the application.' if port else ""
        message = f"The firewall rejected connections to {where} ({protocol}), at least {count} times."
        return self._finding(Verdict.OK, message, hint)

    def _finding(self, verdict: Verdict, message: str, hint: str = "") -> Finding:
        return Finding(self.subject, verdict, message, hint)
