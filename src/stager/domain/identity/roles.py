"""Roles, actions, and the table of the role that each action requires.

A role applies to one application, usually derived from the access to its repository on the forge, or to the
whole installation. Actions that aren't in the table are never permitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType

from stager.domain.source import Access


class Role(IntEnum):
    """Roles; each includes the permissions of those below it."""

    NONE = 0
    VIEWER = 1
    """May see previews: read access to the repository."""
    DEVELOPER = 2
    """May launch and remove previews: push access to the repository."""
    ADMINISTRATOR = 3
    """May manage the installation. Never derived from access to a repository."""

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def named(cls, name: str) -> Role:
        """Return the role of this name, such as `viewer`. Raises `ValueError`."""
        try:
            return cls[name.upper()]
        except KeyError:
            known = ", ".join(str(role) for role in cls if role is not cls.NONE)
            raise ValueError(f"{name!r} isn't a role; the roles are {known}") from None


class Action(StrEnum):
    """Actions that require a permission."""

    SEE = "see"
    """See a preview and its status, and visit it if it is private."""
    LAUNCH = "launch"
    KILL = "kill"
    REDEPLOY = "redeploy"
    ROLL_BACK = "roll-back"
    """Launch an earlier revision of a preview again."""
    APPROVE = "approve"
    """Approve a commit from a fork."""
    KEEP = "keep"
    """Pin and extend previews."""
    READ_LOGS = "read-logs"
    READ_SECRET_NAMES = "read-secret-names"  # noqa: S105
    EXEC = "exec"
    """Run commands in an instance."""
    SLEEP = "sleep"
    """Put a preview to sleep."""
    WAKE = "wake"
    """Wake a preview, as a visit does."""
    RESET = "reset"
    """Reset the data of a preview."""
    MANAGE_SNAPSHOTS = "manage-snapshots"
    """Create, choose and delete snapshots."""
    DOWNLOAD_SNAPSHOT = "download-snapshot"
    SHARE = "share"
    """Create share links to a private preview."""
    READ_METRICS = "read-metrics"
    READ_AUDIT = "read-audit"
    READ_DELIVERIES = "read-deliveries"
    """See webhook deliveries and their outcomes, of all repositories."""
    REPLAY_DELIVERIES = "replay-deliveries"
    """Process recorded webhook deliveries again."""
    READ_SETTINGS = "read-settings"
    """See the configuration in force, without secrets."""
    MANAGE_PEOPLE = "manage-people"
    """See everybody's roles, sessions and tokens; end sessions and revoke tokens."""
    COLLECT_GARBAGE = "collect-garbage"
    """See and remove what nothing needs any more on the machine."""
    MANAGE_NODES = "manage-nodes"
    """See, drain and activate the machines of a swarm."""
    SET_UP = "set-up"
    """Connect the forge and run diagnostics."""


NEEDED: Mapping[Action, Role] = MappingProxyType(
    {
        Action.SEE: Role.VIEWER,
        Action.LAUNCH: Role.DEVELOPER,
        Action.KILL: Role.DEVELOPER,
        Action.REDEPLOY: Role.DEVELOPER,
        Action.ROLL_BACK: Role.DEVELOPER,
        Action.APPROVE: Role.DEVELOPER,
        Action.KEEP: Role.DEVELOPER,
        Action.READ_LOGS: Role.DEVELOPER,
        Action.READ_SECRET_NAMES: Role.DEVELOPER,
        Action.EXEC: Role.DEVELOPER,
        Action.SLEEP: Role.DEVELOPER,
        Action.WAKE: Role.VIEWER,
        Action.RESET: Role.DEVELOPER,
        Action.MANAGE_SNAPSHOTS: Role.DEVELOPER,
        Action.DOWNLOAD_SNAPSHOT: Role.DEVELOPER,
        Action.SHARE: Role.DEVELOPER,
        Action.READ_METRICS: Role.VIEWER,
        Action.READ_AUDIT: Role.ADMINISTRATOR,
        Action.READ_DELIVERIES: Role.ADMINISTRATOR,
        Action.REPLAY_DELIVERIES: Role.ADMINISTRATOR,
        Action.READ_SETTINGS: Role.ADMINISTRATOR,
        Action.MANAGE_PEOPLE: Role.ADMINISTRATOR,
        Action.COLLECT_GARBAGE: Role.ADMINISTRATOR,
        Action.MANAGE_NODES: Role.ADMINISTRATOR,
        Action.SET_UP: Role.ADMINISTRATOR,
    }
)
"""The minimum role for each action."""


def may(role: Role, action: Action) -> bool:
    """Whether a role permits an action."""
    return action in NEEDED and role >= NEEDED[action]


def role_by(access: Access) -> Role:
    """Return the role for a repository's previews by the access to the repository: with push access, a user's
    code runs in previews anyway."""
    if access.may_push:
        return Role.DEVELOPER
    return Role.VIEWER if access is Access.READ else Role.NONE
