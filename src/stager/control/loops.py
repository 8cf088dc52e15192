"""Background loops that packages contribute to the controller, and what they report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Loop:
    """Background work of one package, run by the controller.

    Args:
        name: in the log and in `Troubles`.
        interval: time between two runs; None: `run` is a stream, which is restarted when it ends.
        after_adoption: whether it starts only after running instances were adopted. Without this, a delivery
            could launch a preview that runs already but isn't in the database.
        wake: ends the pause between two runs when it is set.
    """

    name: str
    run: Callable[[], Awaitable[object]]
    interval: timedelta | None = None
    after_adoption: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Troubles:
    """What keeps Stager from working, by part; empty when everything works."""

    def __init__(self) -> None:
        self._by_part = {"engine": "Not checked yet."}

    @property
    def by_part(self) -> Mapping[str, str]:
        """One sentence for each part that doesn't work."""
        return self._by_part

    def report(self, part: str, trouble: str) -> None:
        """Replace what is reported for a part.

        Args:
            trouble: a sentence; empty if the part works.
        """
        if trouble:
            self._by_part[part] = trouble
        else:
            self._by_part.pop(part, None)
