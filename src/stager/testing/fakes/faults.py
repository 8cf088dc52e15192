"""How a forge in memory answers what it is asked."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TypeVar

from stager.domain.errors import Refused, Retry

T = TypeVar("T")

SLOW_SECONDS = 10.0


class FaultMode(Enum):
    """How the forge answers what it is asked."""

    WELL = auto()
    SLOW = auto()
    """After `SLOW_SECONDS`."""
    NEVER = auto()
    FAILING = auto()
    """It can't be reached."""
    PARTIAL = auto()
    """Lists break off in the middle, so that they are no answer."""
    EMPTY = auto()
    """Lists come back empty, as if there were nothing."""
    SHORT = auto()
    """Lists come back without their second half, as if that were all."""
    REFUSING = auto()
    """It says no to whatever we want to write."""


class Faulty:
    """What every part of the forge in memory has in common.

    Attributes:
        mood: how it answers.
    """

    def __init__(self) -> None:
        self.mood = FaultMode.WELL

    async def _turn(self, *, writes: bool = False, lists: bool = False) -> None:
        """Answer as the mood is.

        Args:
            writes: whether something is to be changed.
            lists: whether the answer is a list.
        """
        if self.mood is FaultMode.NEVER:
            await asyncio.Event().wait()
        await asyncio.sleep(SLOW_SECONDS if self.mood is FaultMode.SLOW else 0)
        if self.mood is FaultMode.FAILING:
            raise Retry("The forge can't be reached.", reason="forge-away")
        if writes and self.mood is FaultMode.REFUSING:
            raise Refused("The forge lets nobody write here.", reason="forge-refused", status=403)
        if lists and self.mood is FaultMode.PARTIAL:
            raise Retry("The forge's answer breaks off.", reason="forge-unreadable")

    def _listed(self, whole: list[T]) -> list[T]:
        """The list as it is told in this mood, where that isn't by no answer at all."""
        match self.mood:
            case FaultMode.EMPTY:
                return []
            case FaultMode.SHORT:
                return whole[: len(whole) // 2]
            case _:
                return whole
