"""Keeps HAProxy's configuration file with a backend per preview, tested before it is put in place.

HAProxy tests a file that isn't in place, so what it rejects is never installed. The file is replaced
atomically, and a note says that a reload is due: the process may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Mapping

import structlog

from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.route import RouteTable
from stager.routers import bisection
from stager.routers.haproxy.commands import Haproxy, without_place
from stager.routers.haproxy.target import Target
from stager.routers.haproxy.template import ConfigTemplate, Preview, Site, broken
from stager.routers.hosts import SAFE, names_of

log = structlog.get_logger(__name__)


class HaproxyRouter:
    """See `stager.ports.router.EdgeProxy`.

    Args:
        template: the template of the configuration file.
        site: its values that are the same for all previews.
        target: the configuration file.
        haproxy: tests the file, and reloads it.
    """

    name = "HAProxy"

    def __init__(self, *, template: ConfigTemplate, site: Site, target: Target, haproxy: Haproxy) -> None:
        self._template = template
        self._site = site
        self._target = target
        self._haproxy = haproxy
        # One pass at a time: a thread continues even if its caller was cancelled.
        self._turn = threading.Lock()

    async def check(self) -> None:
        """Test the template with an example preview.

        Raises:
            Fault: HAProxy rejects its output.
        """
        example = [Preview("a-preview", "stager.invalid", 9)]
        try:
            error = await asyncio.to_thread(self._error, example)
        except (Fault, Retry) as problem:
            if problem.reason == "haproxy-template":
                raise
            return  # reported with the first change
        if str(self._target.candidate) in error:
            what = f"HAProxy rejects the output of {self._template.name}: {self._told(error)}"
            raise broken(what, detail=error)

    async def apply(self, table: RouteTable) -> Mapping[str, str]:
        """See `EdgeProxy.apply`."""
        return await asyncio.to_thread(self._apply, table)

    def _apply(self, table: RouteTable) -> dict[str, str]:
        with self._turn:
            previews, problems = _previews(table)
            present = self._target.current()
            due = self._target.reload_due.exists()
            if not due and present == self._text(previews.values()):
                return problems
            for host, error in self._rejected(previews).items():
                problems[host] = f"HAProxy rejects its part: {self._told(error, host)}."
                del previews[host]
            text = self._text(previews.values())
            if due or present != text:
                self._replace(present, text, due=due)
                log.info("haproxy_updated", previews=len(previews))
            return problems

    def _rejected(self, previews: Mapping[str, Preview]) -> dict[str, str]:
        """Return the hosts that HAProxy rejects, with its errors.

        Raises:
            Fault: it rejects the configuration independently of them.
        """
        error = self._error(previews.values())
        if not error:
            return {}
        self._refuse(self._error(()))
        rejected = bisection.rejected(
            list(previews), lambda hosts: self._error([previews[host] for host in hosts])
        )
        self._refuse(self._error([preview for host, preview in previews.items() if host not in rejected]))
        return rejected

    def _refuse(self, error: str) -> None:
        if error:
            raise Fault(
                f"HAProxy rejects its configuration: {self._told(error)}",
                hint="Stager runs `haproxy.test_command` with the path of the new file, as its own user.",
                reason="haproxy-refused",
                detail=error,
            )

    def _replace(self, present: str, text: str, *, due: bool) -> None:
        """Put the file in place and reload HAProxy. After an error the present one is there again."""
        self._target.reload_due.touch()
        try:
            self._target.replace(text)
            runs = self._reload(present)
        except StagerError:
            if not due:
                self._target.reload_due.unlink(missing_ok=True)
            raise
        if not runs:
            raise Retry(
                "HAProxy isn't running.",
                hint="Start it; it then reads the file with the previews.",
                reason="haproxy-stopped",
            )
        self._target.reload_due.unlink(missing_ok=True)

    def _reload(self, present: str) -> bool:
        try:
            return self._haproxy.reload()
        except StagerError:
            self._target.replace(present)
            raise

    def _text(self, previews: Collection[Preview]) -> str:
        return self._target.marked(self._template.render(self._site, previews))

    def _error(self, previews: Collection[Preview]) -> str:
        """Return HAProxy's error about a file with these previews; empty if there is none."""
        return self._haproxy.test(self._target.write_candidate(self._text(previews)))

    def _told(self, error: str, host: str = "") -> str:
        text = without_place(error, self._target.candidate)
        return text.replace(host, "its name").rstrip(".") if host else text.rstrip(".")


def _previews(table: RouteTable) -> tuple[dict[str, Preview], dict[str, str]]:
    """Return the previews by host, and the hosts that can't be written to the file, with the reason."""
    previews: dict[str, Preview] = {}
    problems: dict[str, str] = {}
    for host, port in sorted(table.ingress_ports().items()):
        slug, base, _ = names_of(host, table.domain)
        if SAFE.fullmatch(host) and base:
            previews[host] = Preview(slug, base, port)
        else:
            problems[host] = "its name can't be used in HAProxy's configuration."
    return previews, problems
