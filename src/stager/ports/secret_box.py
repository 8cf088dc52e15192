"""Encrypts secrets, such as forge tokens, so that the database alone doesn't reveal them."""

from __future__ import annotations

from typing import Protocol


class SecretBox(Protocol):
    """Encrypts and decrypts text."""

    def close(self, secret: str) -> str:
        """Encrypt a secret; an empty one stays empty."""

    def open(self, sealed: str) -> str:
        """Decrypt a secret. Raises `Refused` when it was encrypted with another key or is damaged."""
