"""The folder of certificates: permissions, names, and files that others left."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stager.certificates.diagnostics import AcmeCheck
from stager.certificates.storage import CertificateFolder, Order
from stager.domain.certificate import OrderFailure
from stager.front.process.tls import Certificates
from stager.ports.diagnostics import Verdict
from stager.state import StateDirectory
from tests.certificates import self_signed

NAME, WILDCARD = "shop.example.org", "*.example.org"
NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> CertificateFolder:
    made = CertificateFolder(tmp_path / "acme.example")
    made.prepare()
    return made


def save(folder: CertificateFolder, name: str, days: int = 90, begins: datetime | None = None) -> None:
    folder.save_certificate(name, *self_signed(name, days, begins))


class TestCertificates:
    def test_they_are_found_by_name(self, folder: CertificateFolder) -> None:
        for name in (NAME, WILDCARD):
            save(folder, name)
        found = folder.certificates()
        assert set(found) == {NAME, WILDCARD}
        assert found[NAME].expires - found[NAME].begins == timedelta(days=90)

    def test_a_new_file_replaces_the_old_one(self, folder: CertificateFolder) -> None:
        save(folder, NAME, days=1)
        before = folder.certificates()[NAME]
        save(folder, NAME)
        assert folder.certificates()[NAME].expires > before.expires

    def test_other_files_are_ignored(self, folder: CertificateFolder) -> None:
        (folder.path / "served" / "x.example.org.pem").write_text("nonsense")
        assert folder.certificates() == {}

    def test_no_other_user_can_read_anything(self, folder: CertificateFolder) -> None:
        save(folder, NAME)
        folder.save_order(NAME, Order("https://acme.example/1"))
        folder.put_challenge("token", "answer")
        folder.note_issued(NOW)
        folder.note_failure(NAME, OrderFailure(1, NOW, "It failed."))
        folder.save_account("https://acme.example/account", "")
        paths = list(folder.path.rglob("*"))
        assert len(paths) == 11
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600, 0o700}
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


class TestRecords:
    def test_an_order(self, folder: CertificateFolder) -> None:
        assert folder.order(WILDCARD) is None
        order = Order("https://acme.example/1", ("_acme-challenge.example.org.", "value"))
        folder.save_order(WILDCARD, order)
        folder.order_key(WILDCARD).write_text("key")
        assert folder.order(WILDCARD) == order
        folder.drop_order(WILDCARD)
        assert folder.order(WILDCARD) is None
        assert not folder.order_key(WILDCARD).exists()

    def test_failures(self, folder: CertificateFolder) -> None:
        failure = OrderFailure(2, NOW, "It failed.", "Look.")
        folder.note_failure(NAME, failure)
        assert folder.failures() == {NAME: failure}
        assert Certificates(folder=folder.path / "served").has_failed(NAME)
        folder.note_failure(NAME, None)
        assert folder.failures() == {}
        assert not Certificates(folder=folder.path / "served").has_failed(NAME)

    def test_only_the_last_seven_days_are_counted(self, folder: CertificateFolder) -> None:
        folder.note_issued(NOW - timedelta(days=8))
        folder.note_issued(NOW - timedelta(days=6))
        folder.note_issued(NOW)
        assert len(folder.issued(NOW)) == 2

    @pytest.mark.parametrize("text", ["", "{", "[]", "\0"])
    def test_a_broken_file_counts_as_missing(self, folder: CertificateFolder, text: str) -> None:
        for name in ("failures.json", "issued.json", "account.json"):
            (folder.path / name).write_text(text)
        assert (folder.failures(), list(folder.issued(NOW)), folder.account()) == ({}, [], "")


def test_each_issuer_has_a_folder(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    assert state.certificates_of("https://acme.example:14000/dir").name == "acme.example_14000"
    assert state.certificates_of("https://u:p@acme.example/dir").name == "acme.example"


class TestCheck:
    async def check(self, folder: CertificateFolder) -> list[tuple[Verdict, str]]:
        return [(found.verdict, found.message) for found in await AcmeCheck(folder.path, 2).run()]

    async def test_sound_ones(self, folder: CertificateFolder) -> None:
        assert await self.check(folder) == [(Verdict.WARNING, "No certificate was issued yet.")]
        save(folder, NAME)
        ((verdict, message),) = await self.check(folder)
        assert verdict is Verdict.OK
        assert message.startswith("1 certificate; the first one expires on ")

    async def test_a_failed_order(self, folder: CertificateFolder) -> None:
        folder.note_failure(NAME, OrderFailure(3, NOW, "The issuer can't verify it.", "Open port 80."))
        (found,) = await AcmeCheck(folder.path, 2).run()
        assert (found.verdict, found.hint) == (Verdict.ERROR, "Open port 80.")
        assert f"The order for {NAME} failed 3 times" in found.message
        save(folder, NAME)
        ((verdict, message),) = await self.check(folder)
        assert (verdict, "The old one is valid until" in message) == (Verdict.WARNING, True)

    async def test_expiry(self, folder: CertificateFolder) -> None:
        save(folder, NAME, begins=NOW - timedelta(days=91))
        ((verdict, message),) = await self.check(folder)
        assert (verdict, "expired on" in message) == (Verdict.WARNING, True)
        save(folder, NAME, begins=NOW - timedelta(days=70))
        ((verdict, message),) = await self.check(folder)
        assert (verdict, "is due for renewal" in message) == (Verdict.WARNING, True)

    async def test_the_limit(self, folder: CertificateFolder) -> None:
        save(folder, NAME)
        for _ in range(2):
            folder.note_issued(NOW)
        ((verdict, message),) = await self.check(folder)
        assert (verdict, "`certificates_per_week` is reached" in message) == (Verdict.WARNING, True)
