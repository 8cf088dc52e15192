"""Keeps secrets of others, such as tokens of the forge, so that the database alone gives none away."""

from __future__ import annotations

from typing import Protocol


class SecretBox(Protocol):
    """Seals and opens. What is sealed is text that may be kept anywhere."""

    def close(self, secret: str) -> str:
        """The secret, sealed; nothing of nothing."""

    def open(self, sealed: str) -> str:
        """The secret again. Raises `Refused` when it was sealed by another, or isn't whole."""
