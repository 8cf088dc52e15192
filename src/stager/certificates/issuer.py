"""Orders of certificates, one name each: placed, authorized, finalized and downloaded.

Each step is stored before the next one, so that an order that was interrupted at any step is continued: its
URL and the private key are on the disk, and the certificate can be downloaded again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from acme import messages
from acme.crypto_util import make_csr
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from stager.certificates.challenges import Publisher
from stager.certificates.session import AcmeServer, AcmeSession, new_key, problem_of
from stager.certificates.storage import CertificateFolder, Order
from stager.domain.certificate import Certificate, OrderFailure
from stager.domain.errors import Fault, Retry, StagerError

log = structlog.get_logger(__name__)

_STEP_SECONDS = 180.0
"""How long the issuer may take to verify a name, and to issue a certificate."""
_POLL_SECONDS = (0.2, 0.5, 1.0, 2.0)
_PENDING, _VALID, _INVALID = messages.STATUS_PENDING, messages.STATUS_VALID, messages.STATUS_INVALID


class AcmeCertificates:
    """A `stager.ports.certificates.Certificates` by ACME (RFC 8555)."""

    def __init__(
        self, server: AcmeServer, folder: CertificateFolder, publisher: Publisher, weekly_limit: int
    ) -> None:
        self.weekly_limit = weekly_limit
        self._server = server
        self._folder = folder
        self._publisher = publisher
        self._running: set[str] = set()
        self._opening = asyncio.Lock()
        folder.prepare()

    @property
    def has_wildcards(self) -> bool:
        """See `Certificates.has_wildcards`."""
        return self._publisher.has_wildcards

    def stored(self) -> Mapping[str, Certificate]:
        """See `Certificates.stored`."""
        return self._folder.certificates()

    def failures(self) -> Mapping[str, OrderFailure]:
        """See `Certificates.failures`."""
        return self._folder.failures()

    def issued(self) -> Sequence[datetime]:
        """See `Certificates.issued`."""
        return self._folder.issued(datetime.now(UTC))

    async def tidy(self) -> None:
        """See `Certificates.tidy`."""
        for name in self._folder.ordered():
            if name not in self._running and self._folder.is_complete(name):
                await self._drop(name)

    def remove(self, name: str) -> None:
        """See `Certificates.remove`."""
        self._folder.remove_certificate(name)
        self._folder.drop_order(name)
        self._folder.note_failure(name, None)

    async def order(self, name: str) -> Certificate:
        """See `Certificates.order`."""
        self._running.add(name)
        try:
            return await self._order(name)
        except OSError as error:
            raise Fault(
                f"{self._folder.path} can't be written: {error.strerror or error}.", reason="state-unusable"
            ) from error
        except StagerError as error:
            before = self._folder.failures().get(name)
            count = before.count + 1 if before else 1
            failure = OrderFailure(count, datetime.now(UTC), error.message, error.hint)
            self._folder.note_failure(name, failure)
            raise
        finally:
            self._running.discard(name)

    async def _order(self, name: str) -> Certificate:
        is_renewal = name in self.stored()
        async with self._opening:  # two at once would create two accounts
            session = await asyncio.to_thread(AcmeSession, self._server, self._folder)
        order, state = await self._place(session, name)
        try:
            for authorization in state.authorizations if state.status == _PENDING else ():
                order = await self._authorize(session, name, order, authorization)
            chain = await self._collect(session, name, order.uri)
        except Fault:
            await self._drop(name)
            raise
        if not is_renewal:
            self._folder.note_issued(datetime.now(UTC))
        self._folder.save_certificate(name, chain, self._folder.order_key(name).read_bytes())
        self._folder.note_failure(name, None)
        await self._drop(name)
        return self.stored()[name]

    async def _place(self, session: AcmeSession, name: str) -> tuple[Order, messages.Order]:
        """Continue the order of this name, or place one."""
        known = self._folder.order(name)
        if known is not None:
            is_complete = self._folder.is_complete(name)
            current = None if is_complete else await asyncio.to_thread(session.order, known.uri)
            if current is not None and current.status != _INVALID:
                return known, current
            await self._drop(name)
        uri, state = await asyncio.to_thread(session.place, name)
        order = Order(uri)
        self._folder.save_order(name, order)
        return order, state

    def _csr(self, name: str) -> bytes:
        return make_csr(new_key(self._folder.order_key(name)), [name])

    async def _authorize(self, session: AcmeSession, name: str, order: Order, uri: str) -> Order:
        """Have the issuer verify the name. Returns the order with the published answer."""
        state = await asyncio.to_thread(session.authorization, uri)
        if state.status == _VALID:
            return order
        challenge = next((c for c in state.challenges if c.chall.typ == self._publisher.kind), None)
        if challenge is None:
            raise Fault(
                f"{session.host} offers no {self._publisher.kind} challenge for {name}.",
                reason="acme-refused",
            )
        where, answer = self._publisher.answer(challenge, state.identifier.value, session.key)
        order = replace(order, challenge=(where, answer))
        self._folder.save_order(name, order)
        await self._publisher.publish(where, answer)
        if challenge.status == _PENDING:
            await asyncio.to_thread(session.answer, challenge)

        async def is_verified() -> bool:
            current = await asyncio.to_thread(session.authorization, uri)
            if current.status not in {_PENDING, _VALID}:
                raise self._unverified(session, current, name)
            return current.status == _VALID

        await _until(is_verified, session.host)
        return order

    def _unverified(self, session: AcmeSession, state: messages.Authorization, name: str) -> Fault:
        problems = [problem_of(each.error) for each in state.challenges if each.error is not None]
        why = problems[0] if problems else f"the authorization is {state.status.name}."
        hint = self._publisher.hint.replace("{name}", state.identifier.value)
        return Fault(f"{session.host} can't verify {name}: {why}", hint=hint, reason="acme-unverified")

    async def _collect(self, session: AcmeSession, name: str, uri: str) -> bytes:
        """Finalize the order if it is ready, and download its certificate."""
        chain = b""

        async def is_done() -> bool:
            nonlocal chain
            state = await asyncio.to_thread(session.order, uri)
            if state is None or state.status == _INVALID:
                why = problem_of(state.error) if state and state.error else "The issuer gives no reason."
                raise Fault(
                    f"{session.host} doesn't issue a certificate for {name}: {why}", reason="acme-refused"
                )
            if state.status == messages.STATUS_READY:
                await asyncio.to_thread(session.finalize, uri, state, self._csr(name))
            if state.status == _VALID and state.certificate:
                chain = await asyncio.to_thread(session.download, state.certificate)
            return bool(chain)

        await _until(is_done, session.host)
        self._check(name, chain, session.host)
        return chain

    def _check(self, name: str, chain: bytes, host: str) -> None:
        """Raise `Fault` unless the certificate is for this name and the key of the order."""
        with suppress(ValueError, x509.ExtensionNotFound):
            leaf = x509.load_pem_x509_certificate(chain)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            key = serialization.load_pem_private_key(self._folder.order_key(name).read_bytes(), None)
            is_for_name = name in names.get_values_for_type(x509.DNSName)
            if is_for_name and leaf.public_key() == key.public_key():
                return
        raise Fault(
            f"{host} returned a certificate that isn't the one ordered for {name}.", reason="acme-refused"
        )

    async def _drop(self, name: str) -> None:
        """Withdraw the published answer, and forget the order."""
        order = self._folder.order(name)
        if order is not None and order.challenge[0]:
            try:
                await self._publisher.withdraw(*order.challenge)
            except StagerError as error:
                log.warning("challenge_left", name=name, where=order.challenge[0], error=error.message)
        self._folder.drop_order(name)


async def _until(is_done: Callable[[], Awaitable[bool]], host: str) -> None:
    """Call it until it returns True. Raises Retry if that takes too long."""
    loop = asyncio.get_running_loop()
    deadline, tries = loop.time() + _STEP_SECONDS, 0
    while not await is_done():
        if loop.time() > deadline:
            raise Retry(f"{host} didn't complete the order within {_STEP_SECONDS:g} s.", reason="acme-away")
        await asyncio.sleep(_POLL_SECONDS[min(tries, len(_POLL_SECONDS) - 1)])
        tries += 1
