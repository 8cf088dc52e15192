"""Checks of what Stager depends on. They change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not well or not for long."""
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of a check.

    Args:
        subject: what was checked, in one or two words.
        message: its state, in a sentence.
        hint: what to do; may be empty.
    """

    subject: str
    verdict: Verdict
    message: str
    hint: str = ""


class Check(Protocol):
    """A check."""

    @property
    def subject(self) -> str:
        """What it checks, in one or two words."""

    async def run(self) -> Sequence[Finding]:
        """Run the check. An exception counts as a finding, too: `ERROR`."""
