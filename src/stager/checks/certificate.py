"""Checks the expiry of the certificate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from stager.ports.diagnostics import Finding, Verdict

WARN_BEFORE = timedelta(days=14)
HINT = "Renew it; the front reads the new files without a restart."


class CertificateCheck:
    """Checks that the certificate in a PEM file hasn't expired."""

    subject = "certificate"

    def __init__(self, path: Path) -> None:
        self._path = path

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        try:
            expiry = expiry_of(self._path)
        except (OSError, ValueError) as error:
            return [Finding(self.subject, Verdict.ERROR, f"{self._path} can't be read: {error}", HINT)]
        left = expiry - datetime.now(UTC)
        if left < timedelta(0):
            return [Finding(self.subject, Verdict.ERROR, f"It expired on {expiry:%Y-%m-%d}.", HINT)]
        message = f"It expires on {expiry:%Y-%m-%d}."
        if left < WARN_BEFORE:
            return [Finding(self.subject, Verdict.WARNING, message, HINT)]
        return [Finding(self.subject, Verdict.OK, message)]


def expiry_of(path: Path) -> datetime:
    """Return the expiry of the first certificate in a PEM file. Raises `OSError` or `ValueError`."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
