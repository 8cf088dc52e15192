"""Lookup of environments by name, and validation of the names that people give."""

from __future__ import annotations

from collections.abc import Collection

from stager.domain.application import Application
from stager.domain.environment import UNAPPROVED, Environment
from stager.domain.errors import Refused
from stager.domain.names import is_reserved
from stager.domain.pull_requests.git_refs import ids_in, named_outside
from stager.ports.store import Transaction

MAX_NAME_LENGTH = 255
"""Characters: git's own limit on a component of a ref, which is a file name on most systems."""


def find_named(tx: Transaction, apps: Collection[str], name: str) -> Environment | None:
    """The present environment of this name; None if there is none.

    Args:
        apps: the applications to look in; several if the request didn't name one, as `/kill` allows.

    Raises:
        Refused: 409, several environments match; the message lists them.
    """
    # A fork's branch must not shadow a branch of the repository that has the same name.
    present = [
        e
        for e in tx.environments(present=True)
        if e.name == name and e.app in apps and not is_unapproved(e) and not e.key.is_of_snapshot
    ]
    manual = [e for e in present if e.change is None]
    candidates = manual or [e for e in present if e.desired.suspension is None] or present
    if len(candidates) > 1:
        listed = ", ".join(sorted(_described(e) for e in candidates))
        raise Refused(
            f'"{name}" matches several previews: {listed}.',
            hint="Set image_name, or use the preview's id from the API.",
            reason="name-ambiguous",
            status=409,
        )
    return candidates[0] if candidates else None


def _described(environment: Environment) -> str:
    change = environment.change
    which = f"pull request #{change.number}" if change else "manual launch"
    return f"{environment.app} ({which})"


def existing(tx: Transaction, environment_id: str) -> Environment:
    """The environment of this id. Raises `Refused` (404) if there is none."""
    environment = tx.environment(environment_id)
    if environment is None:
        raise unknown(environment_id)
    return environment


def unknown(environment_id: str) -> Refused:
    """The error for an id that doesn't exist and for one that the actor may not see: both look the same."""
    return Refused(f'There is no environment "{environment_id}".', reason="environment-unknown", status=404)


def checked_name(name: str) -> str:
    """The name, if it is valid for a manual launch. Raises `Refused` otherwise."""
    if not name.strip():
        raise Refused(
            "No name specified for container: the parameter container_name is missing.",
            reason="name-missing",
        )
    if is_reserved(name):
        raise Refused('Invalid container name: "default" is reserved.', reason="name-reserved")
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise Refused(
            f"Invalid container name: at most {MAX_NAME_LENGTH} printable characters.", reason="name-invalid"
        )
    return name


def check_ref(name: str, application: Application) -> None:
    """Refuse the name of a manual launch if it could select code that isn't in a branch or tag.

    Args:
        application: the one to launch. If it is built from a commit, Stager checks that a commit id is the
            tip of a branch or tag; otherwise only the image's boot script sees the name.

    Raises:
        Refused: `name-not-branch`.
    """
    if word := named_outside(name):
        raise Refused(
            f'"{word[:MAX_NAME_LENGTH]}" isn\'t the name of a branch or a tag.',
            hint="Launch a branch or a tag by its name. Pull requests get their own previews.",
            reason="name-not-branch",
        )
    if not application.needs_commit and (word := ids_in(name)):
        raise Refused(
            f'"{word}" is a commit id. "{application.name}" isn\'t built from a commit, so Stager can\'t '
            "check that a branch or a tag points to it.",
            hint="Launch the branch or the tag by its name.",
            reason="name-not-branch",
        )


def is_unapproved(environment: Environment) -> bool:
    """Whether its code is from a fork and isn't approved."""
    hold = environment.desired.suspension
    return hold is not None and hold.reason in UNAPPROVED


def newer_than(tx: Transaction, environment_id: str, generation: int | None) -> Environment | None:
    """The environment if its desired generation is another than this one, which somebody saw; None if it is
    the same, and for None.

    Raises:
        Refused: there is no environment of this id.
    """
    environment = existing(tx, environment_id)
    is_outdated = generation is not None and environment.desired.generation != generation
    return environment if is_outdated else None
