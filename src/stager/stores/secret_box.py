"""Seals secrets with a key that lies in a file of its own, apart from the database and its backups."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from stager.domain.errors import Refused


class FileSecretBox:
    """A `stager.ports.secret_box.Seal` by Fernet (AES-128-CBC with HMAC-SHA256,
    https://github.com/fernet/spec), whose key is made at first use.

    Args:
        path: where the key lies; its folder is there.

    Raises:
        ValueError: the file is there and holds no key.
    """

    def __init__(self, path: Path) -> None:
        self._fernet = Fernet(_key(path))

    def close(self, secret: str) -> str:
        return self._fernet.encrypt(secret.encode()).decode() if secret else ""

    def open(self, sealed: str) -> str:
        if not sealed:
            return ""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise Refused(
                "What was kept for you can't be read any more.", hint="Sign in again.", reason="seal-broken"
            ) from None


def _key(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes().strip()
    with os.fdopen(descriptor, "wb") as file:
        file.write(key := Fernet.generate_key())
        file.flush()
        os.fsync(file.fileno())
    return key
