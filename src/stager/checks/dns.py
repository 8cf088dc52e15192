"""The wildcard in the DNS, by which all previews are found."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Sequence

from stager.ports.diagnostics import Finding, Verdict

HOW = "Make a wildcard record; docs/how-to/wildcard-dns-and-https.md says how."


class Wildcard:
    """Whether any name below the domain leads to this machine.

    Args:
        domain: tells that of the previews, without a port; an empty one while none is known.
    """

    subject = "DNS"

    def __init__(self, domain: Callable[[], str]) -> None:
        self._domain = domain

    async def look(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.look`."""
        domain = self._domain()
        if not domain:
            hint = "Set `domain`, or let it be learned from the first request with credentials."
            return [Finding(self.subject, Verdict.WARNING, "No domain is configured.", hint)]
        if domain == "localhost" or domain.endswith(".localhost"):
            return [Finding(self.subject, Verdict.FINE, f"*.{domain} is this machine, for browsers here.")]
        name = f"stager-doctor-{secrets.token_hex(4)}.{domain}"
        there = await addresses_of(name)
        if not there:
            return [Finding(self.subject, Verdict.WRONG, f"{name} isn't found, so no preview would be.", HOW)]
        return [await judged(domain, there)]


async def judged(domain: str, there: set[str]) -> Finding:
    """What is to be thought of a domain whose names lead to these addresses."""
    listed, ours = ", ".join(sorted(there)), await own_addresses()
    if there & ours:
        return Finding(Wildcard.subject, Verdict.FINE, f"*.{domain} leads here, to {listed}.")
    return Finding(
        Wildcard.subject,
        Verdict.WARNING,
        f"*.{domain} leads to {listed}, which is no address of this machine.",
        "That is right behind a router, a load balancer or another proxy, and wrong otherwise.",
    )


async def addresses_of(name: str) -> set[str]:
    """The addresses of this name; none where it isn't found."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(entry[4][0]) for entry in found}


async def own_addresses() -> set[str]:
    """The addresses of this machine by which it reaches others, and those of its own name."""
    ours = {"127.0.0.1", "::1"} | await addresses_of(socket.gethostname())
    # Connecting a datagram socket sends nothing; it only chooses the address that would be used.
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((somewhere, 9))
                ours.add(str(probe.getsockname()[0]))
        except OSError:
            continue
    return ours
