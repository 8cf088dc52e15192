"""A cache of the answers to Docker's inspect calls: one for each container, until it changes.

It is filled only while events arrive. A change from outside is followed by an event, which also wakes the
worker of the environment, so that it reads the new answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stager.domain.environment import Instance
from stager.engines.docker import containers


class Inspections:
    """The instances as last inspected, by the id of the container."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Instance]] = {}
        """With the state that Docker's list had."""
        self._follows = False
        self._changes = 0

    @property
    def changes(self) -> int:
        """The number of changes so far, to be given to `add`."""
        return self._changes

    def on_event(self, container: str) -> None:
        """An event of this container arrived, so those of the following changes will."""
        self.forget(container)
        self._follows = True

    def stop(self) -> None:
        """Changes may be missed from now on."""
        self._known.clear()
        self._follows = False

    def forget(self, container: str) -> None:
        """The container changes or has changed."""
        self._changes += 1
        self._known.pop(container, None)

    def get(self, row: Mapping[str, Any]) -> Instance | None:
        """The instance of a row of Docker's list; None if it must be inspected."""
        state, instance = self._known.get(row["Id"], ("", None))
        if instance is None or state != row["State"]:
            return None
        summary = containers.summary_of(row)
        return replace(instance, joined=summary.joined, generations=summary.generations)

    def add(self, row: Mapping[str, Any], instance: Instance, changes: int) -> None:
        """Keep the answer to an inspect call.

        Args:
            changes: `changes` before the call.
        """
        if self._follows and changes == self._changes:
            self._known[row["Id"]] = row["State"], instance
