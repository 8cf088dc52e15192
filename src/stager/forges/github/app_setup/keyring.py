"""Keeps what GitHub gave out for our App: a file that nobody else may read, in Stager's own folder."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stager.domain.errors import Fault
from stager.forges.github.api.answers import AppCredentials


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: str
    pem: str
    slug: str
    url: str
    client_id: str
    client_secret: str
    webhook_secret: str


def app_in_force(app_id: str, private_key: str, keyring: Keyring) -> AppCredentials | None:
    """The App that is configured; without one, that which was made with one click. None when there is none.

    Raises:
        Fault: what is kept can't be read.
    """
    return AppCredentials(app_id, private_key) if app_id else keyring.load()


class Keyring:
    """The file.

    Args:
        path: of the file. Its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> AppCredentials | None:
        """What is kept; None when nothing is. Raises `Fault` when it can't be read."""
        try:
            kept = _Kept.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            kind = type(error).__name__
            raise Fault(
                f"{self._path}, which holds the GitHub App's credentials, can't be read ({kind}).",
                hint="Restore it from a backup, or remove it and make another App at /setup/github.",
                reason="app-credentials-unusable",
            ) from None
        return AppCredentials(**kept.model_dump())

    def save(self, app: AppCredentials) -> None:
        """Keep it, in the place of whatever was kept before. A crash leaves either this or that.

        Raises:
            Fault: it can't be written.
        """
        try:
            self._write(_Kept(**asdict(app)).model_dump_json(indent=2).encode())
        except OSError as error:
            raise Fault(
                f"The GitHub App's credentials can't be written to {self._path}: {error.strerror}.",
                hint="Make room or give Stager the folder, remove the App at GitHub, and begin again.",
                reason="app-credentials-unusable",
            ) from None

    def _write(self, content: bytes) -> None:
        draft = self._path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        # Nobody else's from the first moment on, whatever the umask is.
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(self._path)
