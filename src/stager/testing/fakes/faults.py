"""Fault modes of the fake forge."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TypeVar

from stager.domain.errors import Refused, Retry

T = TypeVar("T")

SLOW_SECONDS = 10.0


class FaultMode(Enum):
    """How the forge answers requests."""

    WELL = auto()
    SLOW = auto()
    """After `SLOW_SECONDS`."""
    NEVER = auto()
    FAILING = auto()
    """It is unreachable."""
    PARTIAL = auto()
    """Lists are cut off and therefore invalid."""
    EMPTY = auto()
    """Lists are empty."""
    SHORT = auto()
    """Lists lack their second half."""
    REFUSING = auto()
    """It rejects writes."""


class Faulty:
    """The base class of the parts of the fake forge.

    Attributes:
        fault_mode: how it answers.
    """

    def __init__(self) -> None:
        self.fault_mode = FaultMode.WELL

    async def _turn(self, *, writes: bool = False, lists: bool = False) -> None:
        """Apply the fault mode to a request.

        Args:
            writes: whether the request changes something.
            lists: whether the answer is a list.
        """
        if self.fault_mode is FaultMode.NEVER:
            await asyncio.Event().wait()
        await asyncio.sleep(SLOW_SECONDS if self.fault_mode is FaultMode.SLOW else 0)
        if self.fault_mode is FaultMode.FAILING:
            raise Retry("The forge can't be reached.", reason="forge-away")
        if writes and self.fault_mode is FaultMode.REFUSING:
            raise Refused("The forge rejects the write.", reason="forge-refused", status=403)
        if lists and self.fault_mode is FaultMode.PARTIAL:
            raise Retry("The forge's answer is cut off.", reason="forge-unreadable")

    def _listed(self, whole: list[T]) -> list[T]:
        """The list as it is returned in this fault mode."""
        match self.fault_mode:
            case FaultMode.EMPTY:
                return []
            case FaultMode.SHORT:
                return whole[: len(whole) // 2]
            case _:
                return whole
