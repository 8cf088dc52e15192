"""Files of mode 0600 in the client's folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def folder(environ: Mapping[str, str]) -> Path:
    """Return the client's folder: `$XDG_CONFIG_HOME/stager`, or `~/.config/stager`.

    A relative path is ignored (XDG Base Directory Specification 0.8).
    """
    given = environ.get("XDG_CONFIG_HOME", "")
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / ".config"
    return base / "stager"


def write(path: Path, text: str) -> None:
    """Write a file of mode 0600 atomically: write a temporary file, then rename it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    candidate = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(candidate, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        candidate.replace(path)
    except BaseException:
        candidate.unlink(missing_ok=True)
        raise


def read(path: Path) -> str:
    """Return the content of a file; empty when there is none. Sets its mode to 0600."""
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
