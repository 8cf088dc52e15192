"""The diagnostic of certificates that Stager orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stager.certificates.storage import CertificateFolder
from stager.domain.certificate import Certificate, OrderFailure
from stager.ports.diagnostics import Finding, Verdict

_SUBJECT = "certificates"
_LATE = timedelta(days=2)
"""How long after the time of its renewal a certificate may still be the old one."""
_LIMIT_HINT = (
    "`tls.acme.dns` orders one wildcard for all previews; `certificates_per_week` changes the limit."
)
_RENEWED = "It is renewed while Stager runs and the host exists."


class AcmeCheck:
    """Checks the certificates in the folder of an issuer: failed orders, expiry, and the weekly limit."""

    subject = _SUBJECT

    def __init__(self, folder: Path, weekly_limit: int) -> None:
        self._folder = CertificateFolder(folder)
        self._weekly_limit = weekly_limit

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        now = datetime.now(UTC)
        certificates, failures = self._folder.certificates(), self._folder.failures()
        problems = [
            *(_failed(name, failures[name], certificates.get(name), now) for name in sorted(failures)),
            *(finding for c in certificates.values() if c.name not in failures for finding in _aged(c, now)),
            *self._limited(now),
        ]
        return problems or [_sound(certificates)]

    def _limited(self, now: datetime) -> Iterator[Finding]:
        count = len(self._folder.issued(now))
        if count >= self._weekly_limit:
            message = f"{count} new certificates in 7 days: `certificates_per_week` is reached."
            yield Finding(_SUBJECT, Verdict.WARNING, message, _LIMIT_HINT)


def _failed(name: str, failure: OrderFailure, certificate: Certificate | None, now: datetime) -> Finding:
    is_valid = certificate is not None and certificate.is_valid(now)
    until = f" The old one is valid until {certificate.expires:%Y-%m-%d}." if certificate and is_valid else ""
    times = "failed" if failure.count == 1 else f"failed {failure.count} times"
    message = (
        f"The order for {name} {times}, last on {failure.at:%Y-%m-%d %H:%M} UTC: {failure.message}{until}"
    )
    return Finding(_SUBJECT, Verdict.WARNING if is_valid else Verdict.ERROR, message, failure.hint)


def _aged(certificate: Certificate, now: datetime) -> Iterator[Finding]:
    if certificate.expires <= now:
        message = f"The certificate of {certificate.name} expired on {certificate.expires:%Y-%m-%d}."
        yield Finding(_SUBJECT, Verdict.WARNING, message, _RENEWED)
    elif now - certificate.renewal > _LATE:
        expires = f"{certificate.expires:%Y-%m-%d}"
        message = f"The certificate of {certificate.name} is due for renewal, and expires on {expires}."
        yield Finding(_SUBJECT, Verdict.WARNING, message, _RENEWED)


def _sound(certificates: dict[str, Certificate]) -> Finding:
    if not certificates:
        return Finding(
            _SUBJECT, Verdict.WARNING, "No certificate was issued yet.", "It is ordered while Stager runs."
        )
    first = min(certificates.values(), key=lambda certificate: certificate.expires)
    count = "1 certificate" if len(certificates) == 1 else f"{len(certificates)} certificates"
    message = f"{count}; the first one expires on {first.expires:%Y-%m-%d} ({first.name})."
    return Finding(_SUBJECT, Verdict.OK, message)
