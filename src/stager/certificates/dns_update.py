"""Changes of DNS records by the protocol of RFC 2136, signed with a TSIG key (RFC 8945)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update

from stager.domain.errors import Fault, Retry

_TIMEOUT = 20.0
_TTL = 60


@dataclass(frozen=True, slots=True)
class DnsServer:
    """The primary name server of a domain.

    Args:
        host: its address.
        key_name: the name of the TSIG key, as the server knows it.
        secret: the key, in base64.
        algorithm: such as `hmac-sha256`.
        zone: the zone that has the records; empty: the server is asked.
    """

    host: str
    port: int
    key_name: str
    secret: str = field(repr=False)
    algorithm: str = "hmac-sha256"
    zone: str = ""


class DnsUpdates:
    """Changes TXT records by dynamic updates over TCP."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._keyring = dns.tsigkeyring.from_text({server.key_name: server.secret})

    async def add(self, record: str, value: str) -> None:
        """See `challenges.DnsRecords.add`."""
        await asyncio.to_thread(self._update, record, value, is_added=True)

    async def remove(self, record: str, value: str) -> None:
        """See `challenges.DnsRecords.remove`."""
        await asyncio.to_thread(self._update, record, value, is_added=False)

    def _update(self, record: str, value: str, *, is_added: bool) -> None:
        name = dns.name.from_text(record)
        zone = dns.name.from_text(self._server.zone) if self._server.zone else self._zone_of(name)
        update = dns.update.UpdateMessage(
            zone,
            keyring=self._keyring,
            keyname=dns.name.from_text(self._server.key_name),
            keyalgorithm=self._server.algorithm,
        )
        if is_added:
            update.add(name, _TTL, "TXT", f'"{value}"')
        else:
            update.delete(name, "TXT", f'"{value}"')
        code = self._ask(update).rcode()
        if code != dns.rcode.NOERROR:
            raise self._refused(f"the update of {record} in the zone {zone} with {dns.rcode.to_text(code)}")

    def _zone_of(self, name: dns.name.Name) -> dns.name.Name:
        """The zone of this name: the closest parent with an SOA record on the server."""
        while name != dns.name.root:
            answer = self._ask(dns.message.make_query(name, dns.rdatatype.SOA))
            if any(rrset.rdtype == dns.rdatatype.SOA and rrset.name == name for rrset in answer.answer):
                return name
            name = name.parent()
        raise Fault(
            f"The name server {self._server.host} has no zone for the domain of the previews.",
            hint="Set `tls.acme.dns.rfc2136.zone`, and check that `server` is the zone's primary server.",
            reason="dns-update",
        )

    def _ask(self, message: dns.message.Message) -> dns.message.Message:
        server = self._server
        try:
            return dns.query.tcp(message, server.host, _TIMEOUT, server.port)
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadKey) as error:
            raise self._refused(f"the TSIG key {server.key_name}: {error}") from error
        except (OSError, EOFError, dns.exception.DNSException) as error:
            why = str(error) or type(error).__name__
            raise Retry(
                f"The name server {server.host}:{server.port} doesn't answer: {why}.",
                hint="Check `tls.acme.dns.rfc2136.server`, and that TCP is open.",
                reason="dns-away",
            ) from error

    def _refused(self, what: str) -> Fault:
        return Fault(
            f"The name server {self._server.host} refuses {what}.",
            hint="Check `key_name`, `secret` and `algorithm`, and that the key may update TXT records of the"
            " zone (BIND: `update-policy`).",
            reason="dns-update",
        )
