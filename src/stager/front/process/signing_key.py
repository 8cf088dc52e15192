"""The signing key of access tokens, grants and share links, shared by the front and the control plane."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

_NAME = "access.key"
_BYTES = 32


def load_key(folder: Path) -> bytes:
    """Load the key from this folder, or create it, readable for its owner only.

    A new key makes all access cookies and share links invalid.

    Raises:
        OSError: it can't be read or created, or the file isn't a key.
    """
    file = folder / _NAME
    if not file.exists():
        _create(file)
    key = file.read_bytes()
    if len(key) != _BYTES:
        raise OSError(f"{file} isn't a key; remove it, and a new one is created")
    return key


def _create(file: Path) -> None:
    """Create the file atomically, or keep the one that another process has created meanwhile."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as writer:
            writer.write(secrets.token_bytes(_BYTES))
            writer.flush()
            os.fsync(writer.fileno())
        with suppress(FileExistsError):
            os.link(temporary, file)
    finally:
        temporary.unlink()
