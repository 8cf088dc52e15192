"""Where secrets are kept: the system's keyring where there is a real one, else a file that only its owner
may read.

Whose secret it is includes the server's URL, so that no server is ever sent another's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stager.cli.client.api.errors import ClientError
from stager.cli.client.auth import secure_files
from stager.cli.client.output import note

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "stager"
FILE = "secrets.json"
UNSAFE = ("keyring.backends.fail", "keyring.backends.null", "keyrings.alt.")
"""Modules of keyrings that keep nothing, or keep it in the clear or as good as that."""


class Vault:
    """Keeps secrets by whose they are.

    Args:
        keyring: the system's; None where there is no real one.
    """

    def __init__(self, file: Path, keyring: KeyringBackend | None = None) -> None:
        self._file = file
        self._keyring = keyring

    def get(self, whose: str) -> str:
        """The secret; empty when there is none."""
        return self._from_keyring(whose) or self._in_file().get(whose, "")

    def set(self, whose: str, secret: str) -> None:
        """Keep a secret, and say so where that is a file."""
        if self._into_keyring(whose, secret):
            self._write({w: s for w, s in self._in_file().items() if w != whose})
            return
        self._write(self._in_file() | {whose: secret})
        note(f"No keyring answers here, so this is kept in {self._file}, which only you may read.")

    def delete(self, whose: str) -> bool:
        """Forget a secret. Returns whether there was one."""
        known, there = self._in_file(), bool(self._from_keyring(whose))
        if there and self._keyring is not None:
            self._keyring.delete_password(SERVICE, whose)
        if whose in known:
            self._write({w: s for w, s in known.items() if w != whose})
        return there or whose in known

    def _from_keyring(self, whose: str) -> str:
        if self._keyring is None:
            return ""
        try:
            return self._keyring.get_password(SERVICE, whose) or ""
        except Exception:  # noqa: BLE001 (a back end may raise whatever its system does: D-Bus, the Keychain)
            return ""

    def _into_keyring(self, whose: str, secret: str) -> bool:
        if self._keyring is None:
            return False
        try:
            self._keyring.set_password(SERVICE, whose, secret)
        except Exception:  # noqa: BLE001 (as above)
            return False
        return True

    def _in_file(self) -> dict[str, str]:
        try:
            found = json.loads(secure_files.read(self._file) or "{}")
            return {str(whose): str(secret) for whose, secret in found.items()}
        except (ValueError, AttributeError, OSError) as error:
            raise ClientError(f"{self._file} can't be read.", hint="Remove it, and sign in again.") from error

    def _write(self, secrets: Mapping[str, str]) -> None:
        if secrets:
            secure_files.write(self._file, json.dumps(secrets, indent=2))
        else:
            self._file.unlink(missing_ok=True)


def open_vault(environ: Mapping[str, str] = os.environ) -> Vault:
    """The vault of whoever runs this."""
    return Vault(secure_files.folder(environ) / FILE, system_keyring())


def system_keyring() -> KeyringBackend | None:
    """The system's keyring; None where there is none that keeps secrets secret."""
    try:
        # Costs 50 ms, which only those who sign in pay.
        import keyring  # noqa: PLC0415

        chosen = keyring.get_keyring()
    except Exception:  # noqa: BLE001 (a configured back end may be missing, or break at its import)
        return None
    candidates: list[KeyringBackend] = list(getattr(chosen, "backends", [chosen]))
    return next((backend for backend in candidates if is_real(backend)), None)


def is_real(backend: object) -> bool:
    """Whether a back end keeps secrets, and keeps them secret."""
    return not f"{type(backend).__module__}.".startswith(tuple(f"{name.rstrip('.')}." for name in UNSAFE))
