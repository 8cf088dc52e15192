"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from stager.domain.identity.roles import Role


@dataclass(frozen=True, slots=True)
class Actor:
    """Who a command comes from.

    Args:
        name: a user's name, or the forge's login.
        by: how we know: the authentication strategy's name, `comment`, `webhook`, or `resync`.
        role: the most that they may do, whatever else would give them more; None: nothing bounds it. For whom
            no strategy knows, it is the role itself.
        apps: the only applications that they may do it with; None for all.
        strategy: the class that knows them, which is asked for their role; empty where none is.
        proof: what the strategy needs to tell their role, such as a token of the forge. A secret.
        address: the network address that the request came from; empty where there was none.
    """

    name: str
    by: str
    role: Role | None = None
    apps: frozenset[str] | None = None
    strategy: str = ""
    proof: str = field(default="", repr=False, compare=False)
    address: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.by})"
