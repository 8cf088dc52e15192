"""Who may do what: roles, actions, and the one table between them.

A role is held for one application, mostly because of what the forge lets somebody do with its repository; or
for the whole installation. What isn't in the table nobody may do.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType

from stager.domain.source import Access


class Role(IntEnum):
    """How much somebody may do; each includes those below it."""

    NONE = 0
    VIEWER = 1
    """Sees previews: read access to the repository."""
    DEVELOPER = 2
    """Decides about previews: push access to the repository."""
    ADMINISTRATOR = 3
    """Sees to the installation. Nobody is one by a repository's rights alone."""

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def named(cls, name: str) -> Role:
        """The role that people call this, such as `viewer`. Raises `ValueError`."""
        try:
            return cls[name.upper()]
        except KeyError:
            known = ", ".join(str(role) for role in cls if role is not cls.NONE)
            raise ValueError(f"{name!r} is no role; there are {known}") from None


class Action(StrEnum):
    """What somebody may want to do."""

    SEE = "see"
    """That a preview is there, how it stands, and the preview itself where it is private."""
    LAUNCH = "launch"
    KILL = "kill"
    REDEPLOY = "redeploy"
    APPROVE = "approve"
    """Let a commit from a fork run."""
    KEEP = "keep"
    """Pin and extend."""
    READ_LOGS = "read-logs"
    READ_SECRET_NAMES = "read-secret-names"  # noqa: S105
    EXEC = "exec"
    """Run commands inside an instance."""
    SHARE = "share"
    """Give others a link to a private preview."""
    READ_METRICS = "read-metrics"
    READ_AUDIT = "read-audit"
    SET_UP = "set-up"
    """Connect the forge; see what is the matter with the installation."""


NEEDED: Mapping[Action, Role] = MappingProxyType(
    {
        Action.SEE: Role.VIEWER,
        Action.LAUNCH: Role.DEVELOPER,
        Action.KILL: Role.DEVELOPER,
        Action.REDEPLOY: Role.DEVELOPER,
        Action.APPROVE: Role.DEVELOPER,
        Action.KEEP: Role.DEVELOPER,
        Action.READ_LOGS: Role.DEVELOPER,
        Action.READ_SECRET_NAMES: Role.DEVELOPER,
        Action.EXEC: Role.DEVELOPER,
        Action.SHARE: Role.DEVELOPER,
        Action.READ_METRICS: Role.VIEWER,
        Action.READ_AUDIT: Role.ADMINISTRATOR,
        Action.SET_UP: Role.ADMINISTRATOR,
    }
)
"""The least role for each action."""


def may(role: Role, action: Action) -> bool:
    """Whether somebody with this role may do this; no for what isn't in the table."""
    return action in NEEDED and role >= NEEDED[action]


def role_by(access: Access) -> Role:
    """The role that rights in a repository give for its previews: whoever may push decides about them,
    because their code runs there anyway."""
    if access.may_push:
        return Role.DEVELOPER
    return Role.VIEWER if access is Access.READ else Role.NONE
