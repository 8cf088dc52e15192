"""The header of every page: who is signed in, and where that person can go."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.control_plane import ControlPlane
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action, Role, may


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the navigation.

    Args:
        needs: the permission for the whole installation without which the entry is hidden; None for none.
    """

    key: str
    title: str
    path: str
    needs: Action | None = None


ENTRIES = (
    Entry("previews", "Previews", "/"),
    Entry("launch", "Launch", "/new", Action.LAUNCH),
    Entry("deliveries", "Deliveries", "/deliveries", Action.READ_DELIVERIES),
    Entry("people", "People", "/people", Action.MANAGE_PEOPLE),
    Entry("settings", "Settings", "/settings", Action.READ_SETTINGS),
    Entry("applications", "Applications", "/setup", Action.SET_UP),
)
"""In the order of the header. The owner of a page adds its entry here."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the header shows.

    Args:
        visitor: the user's name.
        entries: the pages that the user may open.
        here: the key of the entry that the page belongs to; `account` for the user's own pages.
        has_session: whether there is a session to sign out of.
    """

    visitor: str
    entries: tuple[Entry, ...] = ENTRIES[:1]
    here: str = ""
    has_session: bool = False


async def frame_of(control: ControlPlane, actor: Actor, here: str = "") -> Frame:
    """Return the header for a user. The role is the one for the installation, which is known without asking
    a forge.

    Args:
        here: the key of the entry that the page belongs to.
    """
    role = await control.identity.authorizer.role(actor)
    entries = [entry for entry in ENTRIES if await _permits(control, actor, role, entry)]
    return Frame(actor.name, tuple(entries), here, actor.in_browser)


async def _permits(control: ControlPlane, actor: Actor, role: Role, entry: Entry) -> bool:
    """Whether the entry is shown: launching also for those who may launch only some applications, which
    strategies cache."""
    if entry.needs is None or may(role, entry.needs):
        return True
    return entry.needs is Action.LAUNCH and await control.environments.launch_targets.any_app(actor)
