"""Certificates by ACME, as the settings define them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stager.ports.certificates import Certificates
from stager.settings.model import Settings
from stager.settings.sections.https import AcmeDns
from stager.state import StateDirectory

if TYPE_CHECKING:
    from stager.certificates.challenges import DnsPublisher


def certificates_of(settings: Settings, state: StateDirectory) -> Certificates | None:
    """The issuer of certificates; None if Stager orders none."""
    acme = settings.tls.acme if settings.tls else None
    if acme is None:
        return None
    # Imported here, because the library takes 150 ms.
    from stager.certificates.challenges import HttpPublisher  # noqa: PLC0415 (only if configured)
    from stager.certificates.issuer import AcmeCertificates  # noqa: PLC0415 (only if configured)
    from stager.certificates.session import AcmeServer  # noqa: PLC0415 (only if configured)
    from stager.certificates.storage import CertificateFolder  # noqa: PLC0415 (only if configured)

    folder = CertificateFolder(state.certificates_of(acme.directory))
    server = AcmeServer(acme.directory, acme.email, acme.ca_file)
    publisher = _dns_publisher(acme.dns, state) if acme.dns else HttpPublisher(folder)
    return AcmeCertificates(server, folder, publisher, acme.certificates_per_week)


def _dns_publisher(dns: AcmeDns, state: StateDirectory) -> DnsPublisher:
    from stager.certificates.challenges import DnsHook, DnsPublisher  # noqa: PLC0415 (only if configured)
    from stager.certificates.dns_update import DnsServer, DnsUpdates  # noqa: PLC0415 (only if configured)
    from stager.server_commands.runner import LocalCommands  # noqa: PLC0415 (only if configured)

    update = dns.rfc2136
    if update is None:
        return DnsPublisher(DnsHook(LocalCommands(), dns.hook, str(state.path)), dns.wait)
    server = DnsServer(
        update.server.host,
        update.server.port,
        update.key_name,
        update.secret.reveal(),
        update.algorithm,
        update.zone,
    )
    return DnsPublisher(DnsUpdates(server), dns.wait)
