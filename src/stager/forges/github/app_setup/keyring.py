"""Stores the GitHub App's credentials in a file with mode 0600, in Stager's state folder."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stager.domain.errors import Fault
from stager.forges.github.api.responses import AppCredentials


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: str
    pem: str
    slug: str
    url: str
    client_id: str
    client_secret: str
    webhook_secret: str


def app_in_force(app_id: str, private_key: str, keyring: Keyring) -> AppCredentials | None:
    """The configured App, or the one created at /setup/github; None for none.

    Raises:
        Fault: the stored credentials can't be read.
    """
    return AppCredentials(app_id, private_key) if app_id else keyring.load()


class Keyring:
    """The credentials' file.

    Args:
        path: of the file, in an existing folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> AppCredentials | None:
        """The stored App; None for none. Raises `Fault` when the file can't be read."""
        try:
            stored = _Stored.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            kind = type(error).__name__
            raise Fault(
                f"{self._path} with the GitHub App's credentials can't be read ({kind}).",
                hint="Restore it from a backup, or delete it and create another App at /setup/github.",
                reason="app-credentials-unusable",
            ) from None
        return AppCredentials(**stored.model_dump())

    def save(self, app: AppCredentials) -> None:
        """Replace the stored App, atomically.

        Raises:
            Fault: it can't be written.
        """
        try:
            self._write(_Stored(**asdict(app)).model_dump_json(indent=2).encode())
        except OSError as error:
            raise Fault(
                f"The GitHub App's credentials can't be written to {self._path}: {error.strerror}.",
                hint="Free disk space or make the folder writable, delete the App at GitHub, start again.",
                reason="app-credentials-unusable",
            ) from None

    def _write(self, content: bytes) -> None:
        draft = self._path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        # Mode 0600 from the start, regardless of the umask.
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(self._path)
