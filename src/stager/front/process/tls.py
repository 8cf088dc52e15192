"""A certificate in files, loaded again when the files change, as certbot and its like change them."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path


class Certificate:
    """Keeps one `ssl.SSLContext` up to date. Connections that are open keep the certificate that they began
    with.

    Raises:
        OSError: the files can't be read, or (as `ssl.SSLError`) don't fit together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._seen = self._stamp()
        self.context = self._fresh()

    def refresh(self, *, force: bool = False) -> None:
        """Load the files again if they changed. Files that are no good leave the old certificate in use."""
        try:
            stamp = self._stamp()
            if stamp == self._seen and not force:
                return
            # Tried on a context of its own first, so that half-written files don't spoil the one in use.
            self._fresh()
            self.context.load_cert_chain(self._certificate, self._key)
            self._seen = stamp
        except OSError as error:
            sys.stderr.write(f"The certificate can't be loaded, the old one stays: {error}\n")

    def _fresh(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._certificate, self._key)
        return context

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        states = [path.stat() for path in (self._certificate, self._key)]
        return tuple((state.st_mtime_ns, state.st_ino) for state in states)
