"""Certificates that tests make themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def self_signed(name: str, days: int = 90, begins: datetime | None = None) -> tuple[bytes, bytes]:
    """A certificate for this name and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = begins or datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), pem


def serve(folder: Path, name: str, days: int = 90) -> None:
    """Replace the file of this name's certificate, as the front reads it."""
    certificate, key = self_signed(name, days)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "new"
    temporary.write_bytes(certificate + key)
    temporary.replace(folder / f"{name.replace('*', '_')}.pem")


def names_in(der: bytes) -> list[str]:
    """The names that a certificate is for."""
    leaf = x509.load_der_x509_certificate(der)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)
