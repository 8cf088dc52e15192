"""A certificate that is reloaded when its files change, for example after a renewal by certbot."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path


class Certificate:
    """Keeps one `ssl.SSLContext` up to date. Open connections keep their certificate.

    Raises:
        OSError: the files can't be read, or (as `ssl.SSLError`) don't match.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._seen = self._stamp()
        self.context = self._load()

    def refresh(self, *, force: bool = False) -> None:
        """Reload the files if they changed. If they are invalid, the old certificate stays in use."""
        try:
            stamp = self._stamp()
            if stamp == self._seen and not force:
                return
            # Loaded into a separate context first, so that incomplete files don't break the one in use.
            self._load()
            self.context.load_cert_chain(self._certificate, self._key)
            self._seen = stamp
        except OSError as error:
            sys.stderr.write(f"The certificate can't be loaded, the old one stays in use: {error}\n")

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._certificate, self._key)
        return context

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        states = [path.stat() for path in (self._certificate, self._key)]
        return tuple((state.st_mtime_ns, state.st_ino) for state in states)
