"""The certificate, and how long it is good for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from stager.ports.diagnostics import Finding, Verdict

SOON = timedelta(days=14)
HOW = "Renew it; the front takes the new files up by itself."


class Expiry:
    """Until when the certificate in this file is good."""

    subject = "certificate"

    def __init__(self, path: Path) -> None:
        self._path = path

    async def look(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.look`."""
        try:
            until = expiry_of(self._path)
        except (OSError, ValueError) as error:
            return [Finding(self.subject, Verdict.WRONG, f"{self._path} can't be read: {error}", HOW)]
        left = until - datetime.now(UTC)
        if left < timedelta(0):
            return [Finding(self.subject, Verdict.WRONG, f"It ended on {until:%Y-%m-%d}.", HOW)]
        message = f"It is good until {until:%Y-%m-%d}."
        if left < SOON:
            return [Finding(self.subject, Verdict.WARNING, message, HOW)]
        return [Finding(self.subject, Verdict.FINE, message)]


def expiry_of(path: Path) -> datetime:
    """The end of the first certificate in a PEM file. Raises `OSError` or `ValueError`."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
