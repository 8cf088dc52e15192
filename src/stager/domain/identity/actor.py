"""Actors."""

from __future__ import annotations

from dataclasses import dataclass, field

from stager.domain.identity.roles import Role

LOGIN_LINK = "login-link"
"""The strategy of people who signed in by a one-time link from the server's terminal. No class has this
name."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The sender of a request or command.

    Args:
        name: a user's name, or the forge's login.
        by: how the actor was identified: the authentication strategy's name, `comment`, `webhook`, or
            `resync`.
        role: the maximum role; None: no maximum. Without a strategy, it is the actor's role.
        apps: the only applications with permissions; None for all.
        strategy: the class of the strategy that authenticated the actor and determines the role; empty
            without one.
        proof: what the strategy needs to determine the role, such as a token of the forge. A secret.
        in_browser: whether a browser's session authenticated the actor, which signing out ends.
        address: the network address of the request; empty without one.
    """

    name: str
    by: str
    role: Role | None = None
    apps: frozenset[str] | None = None
    strategy: str = ""
    proof: str = field(default="", repr=False, compare=False)
    address: str = field(default="", compare=False)
    in_browser: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.by})"
