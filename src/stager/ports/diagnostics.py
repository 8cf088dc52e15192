"""What looks whether the things that Stager needs are as it needs them. It changes none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """What is to be thought of it."""

    FINE = "fine"
    WARNING = "warning"
    """It works, but for how long, or how well?"""
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing, as it is.

    Args:
        subject: what was looked at, in a word or two.
        message: how it is, in a sentence.
        hint: what to do about it; empty where that is nothing.
    """

    subject: str
    verdict: Verdict
    message: str
    hint: str = ""


class Check(Protocol):
    """Looks at something."""

    @property
    def subject(self) -> str:
        """What it looks at, in a word or two."""

    async def look(self) -> Sequence[Finding]:
        """What it found. What it raises is a finding, too: it is wrong."""
