"""The pluggable classes that the configuration names. Built-ins enter by these same doors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from stager.domain.actor import Actor
from stager.domain.commands import Command
from stager.domain.events import ChangeSeen


@dataclass(frozen=True, slots=True)
class Credentials:
    """What came with a request by which its sender may be known.

    Args:
        authorization: the `Authorization` header; empty when there is none.
        parameters: the request's parameters.
    """

    authorization: str
    parameters: Mapping[str, str]


class EventListener(ABC):
    """Decides what an event asks for; the first listener that takes an event has it."""

    @abstractmethod
    async def handle(self, event: ChangeSeen) -> Command | None:
        """The command that the event amounts to, or None to leave it to the next listener."""


class AuthenticationStrategy(ABC):
    """Knows who sends a direct request."""

    name: str
    """What the configuration calls it."""

    @abstractmethod
    async def authenticate(self, credentials: Credentials) -> Actor | None:
        """Who it is; None when these credentials aren't of this strategy's kind or aren't right."""
