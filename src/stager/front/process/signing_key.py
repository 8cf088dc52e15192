"""The key by which passes, grants and links are signed. The front and the control plane have it in common."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

_NAME = "access.key"
_BYTES = 32


def load_key(folder: Path) -> bytes:
    """The key that lies in this folder; made, for nobody but us to read, when there is none.

    Without it, whoever was let in anywhere has to ask again, and share links are void.

    Raises:
        OSError: it can't be read or made, or isn't one.
    """
    file = folder / _NAME
    if not file.exists():
        _make(file)
    key = file.read_bytes()
    if len(key) != _BYTES:
        raise OSError(f"{file} isn't a key; remove it, and another one is made")
    return key


def _make(file: Path) -> None:
    """Put a whole key there, or leave the one that somebody else has put there meanwhile."""
    aside = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as writer:
            writer.write(secrets.token_bytes(_BYTES))
            writer.flush()
            os.fsync(writer.fileno())
        with suppress(FileExistsError):
            os.link(aside, file)
    finally:
        aside.unlink()
