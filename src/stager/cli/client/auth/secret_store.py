"""Stored credentials: in the system's keyring, or in a file of mode 0600 where no secure keyring is
available.

The key of a secret includes the server's URL, so no server is sent the credentials of another one.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping
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
"""Modules of keyring back ends that store nothing, or store in plain text or with weak encryption."""


class SecretStore:
    """Secrets by owner: the URL of a server and a name.

    Args: file: for the secrets where there is no secure keyring. find_keyring: returns the system's keyring,
        or None where there is no secure one. Called at the first use, because importing the keyring's back
        ends costs 100 ms of processor time.
    """

    def __init__(self, file: Path, find_keyring: Callable[[], KeyringBackend | None] = lambda: None) -> None:
        self._file = file
        self._find_keyring = find_keyring

    @functools.cached_property
    def _keyring(self) -> KeyringBackend | None:
        return self._find_keyring()

    def get(self, owner: str) -> str:
        """Return the secret; empty when there is none."""
        return self._from_file().get(owner, "") or self._from_keyring(owner)

    def set(self, owner: str, secret: str) -> None:
        """Store a secret, with a notice where that is in the file."""
        if self._to_keyring(owner, secret):
            self._write({o: s for o, s in self._from_file().items() if o != owner})
            return
        self._write(self._from_file() | {owner: secret})
        note(f"No system keyring is available. Stored in {self._file} instead, readable only by you.")

    def delete(self, owner: str) -> bool:
        """Delete a secret. Returns whether there was one."""
        in_file, is_in_keyring = self._from_file(), bool(self._from_keyring(owner))
        if is_in_keyring and self._keyring is not None:
            self._keyring.delete_password(SERVICE, owner)
        if owner in in_file:
            self._write({o: s for o, s in in_file.items() if o != owner})
        return is_in_keyring or owner in in_file

    def _from_keyring(self, owner: str) -> str:
        if self._keyring is None:
            return ""
        try:
            return self._keyring.get_password(SERVICE, owner) or ""
        except Exception:  # noqa: BLE001 (a back end raises what its system raises: D-Bus, the Keychain)
            return ""

    def _to_keyring(self, owner: str, secret: str) -> bool:
        if self._keyring is None:
            return False
        try:
            self._keyring.set_password(SERVICE, owner, secret)
        except Exception:  # noqa: BLE001 (as above)
            return False
        return True

    def _from_file(self) -> dict[str, str]:
        try:
            found = json.loads(secure_files.read(self._file) or "{}")
            return {str(owner): str(secret) for owner, secret in found.items()}
        except (ValueError, AttributeError, OSError) as error:
            raise ClientError(
                f"Can't read {self._file}.", hint="Delete the file and run `stager login` again."
            ) from error

    def _write(self, secrets: Mapping[str, str]) -> None:
        if secrets:
            secure_files.write(self._file, json.dumps(secrets, indent=2))
        else:
            self._file.unlink(missing_ok=True)


def open_secret_store(environ: Mapping[str, str] = os.environ) -> SecretStore:
    """Return the secret store of the current user."""
    return SecretStore(secure_files.folder(environ) / FILE, system_keyring)


def system_keyring() -> KeyringBackend | None:
    """Return the system's keyring; None where no secure one is available."""
    try:
        import keyring  # noqa: PLC0415 (100 ms of processor time, needed only for stored credentials)

        chosen = keyring.get_keyring()
    except Exception:  # noqa: BLE001 (a configured back end may be missing, or break at its import)
        return None
    candidates: list[KeyringBackend] = list(getattr(chosen, "backends", [chosen]))
    return next((backend for backend in candidates if is_real(backend)), None)


def is_real(backend: object) -> bool:
    """Whether a back end stores secrets, and encrypts them."""
    return not f"{type(backend).__module__}.".startswith(tuple(f"{name.rstrip('.')}." for name in UNSAFE))
