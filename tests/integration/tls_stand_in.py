"""A proxy that adds TLS, as nginx does before Stager, with a certificate of the test's own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

NAMES = ("demo.example.org", "*.demo.example.org", "previews.example.com")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for the pages' names."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    names = ",".join(f"DNS:{name}" for name in NAMES)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=demo.example.org", "-addext", f"subjectAltName={names}"]
    subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


@contextlib.contextmanager
def tls_before(address: str, folder: Path) -> Iterator[Path]:
    """Port 443 of an address, whose port 80 gets what comes; the certificate to trust."""
    key, certificate = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server((address, 443)) as listening:
        threading.Thread(target=_accept, args=(listening, context, address), daemon=True).start()
        yield certificate
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, context: ssl.SSLContext, address: str) -> None:
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(plain, context, address), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, address: str) -> None:
    with (
        contextlib.suppress(OSError),
        plain,
        context.wrap_socket(plain, server_side=True) as visitor,
        socket.create_connection((address, 80)) as upstream,
    ):
        back = threading.Thread(target=_copy, args=(upstream, visitor), daemon=True)
        back.start()
        _copy(visitor, upstream)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
