"""What every issuer of certificates promises. Each test runs against ACME with a real Pebble, and against the
one in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stager.certificates.challenges import HttpPublisher
from stager.certificates.issuer import AcmeCertificates
from stager.certificates.session import AcmeServer
from stager.certificates.storage import CertificateFolder
from stager.domain.errors import Fault, StagerError
from stager.front.process.launcher import FrontOptions
from stager.ports.certificates import Certificates
from stager.testing import FakeCertificates
from tests.integration.pebble import has_pebble, pebble
from tests.unit.front.harness import Rig, free_port, rig

NAME, OTHER = "shop.demo.example.org", "blog.demo.example.org"


class Subject:
    """An issuer under test, and the way to make it refuse."""

    def __init__(self, certificates: Certificates, front: Rig | None = None) -> None:
        self.certificates = certificates
        self._front = front

    async def refuse(self) -> None:
        if isinstance(self.certificates, FakeCertificates):
            self.certificates.error = Fault("It can't be verified.", hint="Look.", reason="acme-unverified")
        elif self._front is not None:
            await self._front.client.stop(0.0)


@pytest.fixture(params=["memory", "acme"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "memory":
        yield Subject(FakeCertificates(lambda: datetime.now(UTC)))
        return
    if not has_pebble():
        pytest.skip("needs the package pebble")
    folder, port = CertificateFolder(tmp_path / "certificates"), free_port()
    (tmp_path / "pebble").mkdir()
    options = FrontOptions(
        listen=f"127.0.0.1:{port}", tls_listen=f"127.0.0.1:{free_port()}", acme_folder=str(folder.path)
    )
    async with (
        pebble(tmp_path / "pebble", http_port=port) as issuer,
        rig(tmp_path / "f", options, port) as front,
    ):
        server = AcmeServer(issuer.directory, "admin@example.org", issuer.ca_file)
        yield Subject(AcmeCertificates(server, folder, HttpPublisher(folder), 40), front)


async def test_an_ordered_certificate_is_stored(subject: Subject) -> None:
    certificates = subject.certificates
    assert (certificates.stored(), certificates.failures(), list(certificates.issued())) == ({}, {}, [])
    issued = await certificates.order(NAME)
    assert certificates.stored() == {NAME: issued}
    assert issued.is_valid(datetime.now(UTC))
    assert len(certificates.issued()) == 1


async def test_a_renewal_replaces_it_and_isnt_counted(subject: Subject) -> None:
    certificates = subject.certificates
    first = await certificates.order(NAME)
    await asyncio.sleep(1.1)  # certificates have whole seconds
    second = await certificates.order(NAME)
    assert second.expires > first.expires
    assert certificates.stored() == {NAME: second}
    assert len(certificates.issued()) == 1


async def test_names_are_ordered_side_by_side(subject: Subject) -> None:
    await asyncio.gather(*(subject.certificates.order(name) for name in (NAME, OTHER)))
    assert set(subject.certificates.stored()) == {NAME, OTHER}


async def test_failures_are_counted_and_the_certificate_stays(subject: Subject) -> None:
    certificates = subject.certificates
    issued = await certificates.order(NAME)
    await subject.refuse()
    for count in (1, 2):
        with pytest.raises(StagerError) as failed:
            await certificates.order(NAME)
        failure = certificates.failures()[NAME]
        assert (failure.count, failure.message) == (count, failed.value.message)
        assert failure.hint
    assert certificates.stored() == {NAME: issued}


async def test_removing_is_idempotent(subject: Subject) -> None:
    await subject.certificates.order(NAME)
    for _ in range(2):
        subject.certificates.remove(NAME)
        assert subject.certificates.stored() == {}
