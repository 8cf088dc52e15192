"""The answers to an issuer's challenges, which prove that the operator of this machine has the name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from acme import challenges, messages
from josepy.jwk import JWK

from stager.certificates.storage import CertificateFolder
from stager.domain.errors import Fault
from stager.ports.server_commands import ServerCommands

_HOOK_SECONDS = 300.0


class Publisher(Protocol):
    """Publishes the answers of one kind of challenge."""

    kind: str
    """As in ACME: `http-01` or `dns-01`."""
    has_wildcards: bool
    hint: str
    """What to check if the issuer can't verify a name; `{name}` stands for it."""

    def answer(self, challenge: messages.ChallengeBody, name: str, key: JWK) -> tuple[str, str]:
        """Where the answer is published, and the answer.

        Args:
            name: the host, or the domain of a wildcard name.
            key: of the account.
        """

    async def publish(self, where: str, answer: str) -> None:
        """Publish an answer; returns when the issuer can see it. Idempotent. Raises Retry or Fault."""

    async def withdraw(self, where: str, answer: str) -> None:
        """Remove an answer, if it is published. Raises Retry or Fault."""


class HttpPublisher:
    """HTTP-01: the front answers `/.well-known/acme-challenge/TOKEN` (RFC 8555, section 8.3)."""

    kind = "http-01"
    has_wildcards = False
    hint = (
        "The issuer requests http://{name}/.well-known/acme-challenge/... at port 80. Check that {name} has a"
        " DNS record of this machine, and that port 80 is open and leads to Stager's `listen`."
    )

    def __init__(self, folder: CertificateFolder) -> None:
        self._folder = folder

    def answer(
        self,
        challenge: messages.ChallengeBody,
        name: str,  # noqa: ARG002
        key: JWK,
    ) -> tuple[str, str]:
        """See `Publisher.answer`."""
        http = cast("challenges.HTTP01", challenge.chall)
        return str(http.encode("token")), str(http.validation(key))

    async def publish(self, where: str, answer: str) -> None:
        """See `Publisher.publish`."""
        self._folder.put_challenge(where, answer)

    async def withdraw(self, where: str, answer: str) -> None:  # noqa: ARG002
        """See `Publisher.withdraw`."""
        self._folder.remove_challenge(where)


class DnsRecords(Protocol):
    """Changes TXT records of a domain."""

    async def add(self, record: str, value: str) -> None:
        """Add a value to a TXT record, beside others. Idempotent. Raises Retry or Fault.

        Args:
            record: the full name, with the final dot.
        """

    async def remove(self, record: str, value: str) -> None:
        """Remove a value of a TXT record, if there is one. Raises Retry or Fault."""


class DnsPublisher:
    """DNS-01: a TXT record at `_acme-challenge` of the domain (RFC 8555, section 8.4).

    Args:
        wait: seconds until all name servers of the domain have a new record.
    """

    kind = "dns-01"
    has_wildcards = True
    hint = (
        "The issuer looks up the TXT record _acme-challenge.{name}. Check that `tls.acme.dns` changes the"
        " domain that the Internet sees; if other name servers take longer to have the record, increase"
        " `tls.acme.dns.wait`."
    )

    def __init__(self, records: DnsRecords, wait: float) -> None:
        self._records = records
        self._wait = wait

    def answer(self, challenge: messages.ChallengeBody, name: str, key: JWK) -> tuple[str, str]:
        """See `Publisher.answer`."""
        dns = cast("challenges.DNS01", challenge.chall)
        return f"{dns.validation_domain_name(name)}.", str(dns.validation(key))

    async def publish(self, where: str, answer: str) -> None:
        """See `Publisher.publish`."""
        await self._records.add(where, answer)
        await asyncio.sleep(self._wait)

    async def withdraw(self, where: str, answer: str) -> None:
        """See `Publisher.withdraw`."""
        await self._records.remove(where, answer)


class DnsHook:
    """Changes TXT records by a command, with the arguments of lego's `exec` provider: `present` or `cleanup`,
    the record, and the value.

    Args:
        command: the program and its first arguments.
        folder: the working directory.
    """

    def __init__(self, commands: ServerCommands, command: Sequence[str], folder: str) -> None:
        self._commands = commands
        self._command = command
        self._folder = folder

    async def add(self, record: str, value: str) -> None:
        """See `DnsRecords.add`."""
        await self._run("present", record, value)

    async def remove(self, record: str, value: str) -> None:
        """See `DnsRecords.remove`."""
        await self._run("cleanup", record, value)

    async def _run(self, *arguments: str) -> None:
        result = await self._commands.run(
            [*self._command, *arguments], {}, folder=self._folder, timeout=_HOOK_SECONDS, max_output=0
        )
        if result.exit_code == 0:
            return
        how = (
            f"exited with {result.exit_code}"
            if result.exit_code is not None
            else "took longer than 5 minutes"
        )
        last = result.errors.strip().splitlines()[-1:] or ["It wrote nothing to standard error."]
        raise Fault(
            f"The DNS hook {self._command[0]} {arguments[0]} {how}: {last[0]}",
            hint="Run it as Stager's user: with `present`, a name and a value it adds a TXT record.",
            reason="dns-hook",
            detail=result.errors,
        )
