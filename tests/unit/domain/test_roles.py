"""The table of who may do what, whole: every role, every action."""

from __future__ import annotations

import pytest

from stager.domain.identity.roles import NEEDED, Action, Role, may, role_by
from stager.domain.source import Access

SEES = {Action.SEE, Action.READ_METRICS, Action.WAKE}
DECIDES = {
    Action.LAUNCH,
    Action.KILL,
    Action.REDEPLOY,
    Action.ROLL_BACK,
    Action.SLEEP,
    Action.APPROVE,
    Action.KEEP,
    Action.READ_LOGS,
    Action.READ_SECRET_NAMES,
    Action.EXEC,
    Action.SHARE,
    Action.RESET,
    Action.SLEEP,
    Action.MANAGE_SNAPSHOTS,
    Action.DOWNLOAD_SNAPSHOT,
}
ADMINISTERS = {
    Action.READ_AUDIT,
    Action.READ_DELIVERIES,
    Action.REPLAY_DELIVERIES,
    Action.READ_SETTINGS,
    Action.MANAGE_PEOPLE,
    Action.COLLECT_GARBAGE,
    Action.MANAGE_NODES,
    Action.SET_UP,
}
ALLOWED = {
    Role.NONE: set[Action](),
    Role.VIEWER: SEES,
    Role.DEVELOPER: SEES | DECIDES,
    Role.ADMINISTRATOR: SEES | DECIDES | ADMINISTERS,
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", Action)
def test_every_cell(role: Role, action: Action) -> None:
    assert may(role, action) is (action in ALLOWED[role])


def test_every_action_is_in_the_table() -> None:
    assert set(NEEDED) == set(Action)


def test_what_is_not_in_the_table_is_forbidden() -> None:
    assert not may(Role.ADMINISTRATOR, "format-the-disk")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("access", "role"),
    [
        (Access.NONE, Role.NONE),
        (Access.READ, Role.VIEWER),
        (Access.WRITE, Role.DEVELOPER),
        (Access.ADMIN, Role.DEVELOPER),
    ],
)
def test_what_rights_in_a_repository_amount_to(access: Access, role: Role) -> None:
    assert role_by(access) is role


@pytest.mark.parametrize("role", Role)
def test_names(role: Role) -> None:
    assert Role.named(str(role)) is role


def test_a_name_that_is_none() -> None:
    with pytest.raises(
        ValueError, match="'boss' isn't a role; the roles are viewer, developer, administrator"
    ):
        Role.named("boss")
