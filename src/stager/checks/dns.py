"""Checks the wildcard DNS record of the previews."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Sequence

from stager.ports.diagnostics import Finding, Verdict

HINT = "Create a wildcard record; see docs/how-to/wildcard-dns-and-https.md."


class DnsCheck:
    """Checks that names below the domain resolve to this machine.

    Args:
        domain: returns the domain of the previews, without a port; empty while it is unknown.
    """

    subject = "DNS"

    def __init__(self, domain: Callable[[], str]) -> None:
        self._domain = domain

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        domain = self._domain()
        if not domain:
            hint = "Set `domain`; otherwise it is taken from the first authenticated request."
            return [Finding(self.subject, Verdict.WARNING, "No domain is configured.", hint)]
        if domain == "localhost" or domain.endswith(".localhost"):
            return [
                Finding(
                    self.subject, Verdict.OK, f"*.{domain} is this machine, for browsers on this machine."
                )
            ]
        name = f"stager-doctor-{secrets.token_hex(4)}.{domain}"
        addresses = await addresses_of(name)
        if not addresses:
            return [
                Finding(
                    self.subject,
                    Verdict.ERROR,
                    f"{name} doesn't resolve, so previews can't be reached.",
                    HINT,
                )
            ]
        return [await finding_for(domain, addresses)]


async def finding_for(domain: str, addresses: set[str]) -> Finding:
    """Return the finding for a domain whose names resolve to these addresses."""
    listed = ", ".join(sorted(addresses))
    if addresses & await own_addresses():
        return Finding(DnsCheck.subject, Verdict.OK, f"*.{domain} resolves to this machine, {listed}.")
    return Finding(
        DnsCheck.subject,
        Verdict.WARNING,
        f"*.{domain} resolves to {listed}, which isn't an address of this machine.",
        "This is correct only behind a router, a load balancer or another proxy.",
    )


async def addresses_of(name: str) -> set[str]:
    """Resolve a name; an empty set if it doesn't resolve."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(entry[4][0]) for entry in found}


async def own_addresses() -> set[str]:
    """Return the loopback addresses, those of the host name, and the source addresses of outgoing
    connections."""
    ours = {"127.0.0.1", "::1"} | await addresses_of(socket.gethostname())
    # Connecting a datagram socket sends nothing; it only selects the source address.
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                ours.add(str(probe.getsockname()[0]))
        except OSError:
            continue
    return ours
