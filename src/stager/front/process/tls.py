"""The certificates of the HTTPS listener: one from two files, or those of a folder, chosen by the name that
the client requests (SNI, RFC 6066). Renewed files are loaded without a restart, and open connections stay.
"""

from __future__ import annotations

import re
import ssl
import sys
from pathlib import Path

_HOST = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")
_MAX_HOST = 250
"""Characters: the name of a file, with its extension, has at most 255."""
_WILDCARD = "_"
"""The first label in the name of a wildcard certificate's file."""
_MAX_LOADED = 500
"""Certificates of the folder in memory: each takes about 40 KB."""

_Stamp = tuple[tuple[int, int], ...]


class Certificates:
    """Keeps the certificates up to date.

    Args:
        pair: the files of the certificate and its key for all clients; None without one.
        folder: the folder with `HOST.pem`, or `_.DOMAIN.pem` for all hosts of a domain, each with the
            certificate, its chain and the key; None without one.

    Raises:
        OSError: the pair can't be read, or (as `ssl.SSLError`) doesn't match.
    """

    def __init__(self, pair: tuple[Path, Path] | None = None, folder: Path | None = None) -> None:
        self._pair = pair
        self._folder = folder
        self._loaded: dict[str, tuple[_Stamp, ssl.SSLContext]] = {}
        self._seen: _Stamp = _stamp(*pair) if pair else ()
        self.context = _load(*pair) if pair else _new_context()
        if folder is not None:
            self.context.sni_callback = self._choose

    @property
    def is_by_name(self) -> bool:
        """Whether there are certificates for single hosts, which may still be missing."""
        return self._folder is not None

    def has(self, host: str) -> bool:
        """Whether there is a certificate for this host."""
        return self._pair is not None or self._find(host) is not None

    def has_failed(self, host: str) -> bool:
        """Whether the last order of a certificate for this host has failed."""
        if self._folder is None or not _is_host(host):
            return False
        return any((self._folder.parent / "failed" / stem).exists() for stem in _stems(host))

    def refresh(self, *, force: bool = False) -> None:
        """Reload the files that changed. If they are invalid, the old certificate stays in use."""
        if self._pair:
            self._refresh_pair(*self._pair, force=force)
        for stem, (stamp, _) in list(self._loaded.items()):
            try:
                if force or _stamp(self._path(stem)) != stamp:
                    self._load_from_folder(stem)
            except FileNotFoundError:
                del self._loaded[stem]
            except OSError as error:
                _complain(self._path(stem), error)

    def _refresh_pair(self, certificate: Path, key: Path, *, force: bool) -> None:
        try:
            stamp = _stamp(certificate, key)
            if stamp == self._seen and not force:
                return
            # Loaded into a separate context first, so that incomplete files don't break the one in use.
            _load(certificate, key)
            self.context.load_cert_chain(certificate, key)
            self._seen = stamp
        except OSError as error:
            _complain(certificate, error)

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> int | None:
        """Select the certificate during the handshake; without one, the client gets the TLS alert
        `unrecognized_name`. A client that requests no name gets no certificate but that of the pair."""
        context = self._find(name or "")
        if context is not None:
            connection.context = context
            return None
        return None if self._pair else int(ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)

    def _find(self, name: str) -> ssl.SSLContext | None:
        host = name.lower().rstrip(".")
        if self._folder is None or not _is_host(host):
            return None
        for stem in _stems(host):
            known = self._loaded.pop(stem, None)
            if known is not None:
                self._loaded[stem] = known  # the last one is the most recently used
                return known[1]
            try:
                return self._load_from_folder(stem)
            except FileNotFoundError:
                continue
            except OSError as error:
                _complain(self._path(stem), error)
        return None

    def _load_from_folder(self, stem: str) -> ssl.SSLContext:
        path = self._path(stem)
        stamp, context = _stamp(path), _load(path)
        self._loaded[stem] = stamp, context
        if len(self._loaded) > _MAX_LOADED:
            del self._loaded[next(iter(self._loaded))]
        return context

    def _path(self, stem: str) -> Path:
        assert self._folder is not None  # noqa: S101 (only called with a folder)
        return self._folder / f"{stem}.pem"


def _is_host(name: str) -> bool:
    """Whether there may be a file for this name, which a client chooses."""
    return len(name) <= _MAX_HOST and _HOST.fullmatch(name) is not None


def _stems(host: str) -> tuple[str, str]:
    """The names of the files of a host's own certificate, and of the wildcard that covers it."""
    return host, f"{_WILDCARD}.{host.partition('.')[2]}"


def _new_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    context = _new_context()
    context.load_cert_chain(certificate, key)
    return context


def _stamp(*files: Path) -> _Stamp:
    states = [path.stat() for path in files]
    return tuple((state.st_mtime_ns, state.st_ino) for state in states)


def _complain(path: Path, error: OSError) -> None:
    sys.stderr.write(f"The certificate {path} can't be loaded, the old one stays in use: {error}\n")
