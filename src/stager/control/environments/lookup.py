"""Which environment a person means, and the names that people may give."""

from __future__ import annotations

from collections.abc import Collection

from stager.domain.application import Application
from stager.domain.environment import UNAPPROVED, Environment
from stager.domain.errors import Refused
from stager.domain.names import is_reserved
from stager.domain.pull_requests.git_refs import ids_in, named_outside
from stager.domain.source import Repository
from stager.ports.store import Transaction

LONGEST_NAME = 255
"""Characters of a name: git's own limit on a part of a ref, which is a file's name on most systems."""


def find_named(tx: Transaction, apps: Collection[str], name: str) -> Environment | None:
    """The present environment that a person means by this name.

    Args:
        apps: the entries under `images:` that may be meant; several when the person didn't say, as `/kill`
            allows.

    Raises:
        Refused: 409, listing them, when the name may mean several.
    """
    # What a fork names like one of our branches isn't what anybody here means by that.
    present = [
        e for e in tx.environments(present=True) if e.name == name and e.app in apps and not is_unapproved(e)
    ]
    by_hand = [e for e in present if e.change is None]
    candidates = by_hand or [e for e in present if e.desired.suspension is None] or present
    if len(candidates) > 1:
        listed = ", ".join(sorted(_described(e) for e in candidates))
        raise Refused(
            f'"{name}" may mean several previews: {listed}.',
            hint="Say which, with image_name or by the id that the API gives.",
            reason="name-ambiguous",
            status=409,
        )
    return candidates[0] if candidates else None


def previews_of(tx: Transaction, repository: Repository, number: int) -> list[Environment]:
    """The present environments of this pull request, whatever application they were made for: that may have
    another name or owner by now, or be gone from the configuration."""
    return [
        environment
        for environment in tx.environments(present=True)
        if (link := environment.change) and (link.repository_id, link.number) == (repository.id, number)
    ]


def _described(environment: Environment) -> str:
    change = environment.change
    which = f"pull request #{change.number}" if change else "launched by hand"
    return f"{environment.app} ({which})"


def existing(tx: Transaction, environment_id: str) -> Environment:
    environment = tx.environment(environment_id)
    if environment is None:
        raise unknown(environment_id)
    return environment


def unknown(environment_id: str) -> Refused:
    """There is none of this id, or none that whoever asks may see: nobody can tell one from the other."""
    return Refused(f'There is no environment "{environment_id}".', reason="environment-unknown", status=404)


def checked_name(name: str) -> str:
    if not name.strip():
        raise Refused(
            "No name specified for container: the parameter container_name is missing.",
            reason="name-missing",
        )
    if is_reserved(name):
        raise Refused('Invalid container name: "default" is reserved.', reason="name-reserved")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise Refused(
            f"Invalid container name: at most {LONGEST_NAME} printable characters.", reason="name-invalid"
        )
    return name


def check_ref(name: str, application: Application) -> None:
    """Refuse a name given by hand that may mean strangers' code.

    Args:
        application: what is launched. Where it is built from a commit, an id is looked for among the tips of
            branches and tags; elsewhere nothing but the image's boot script would look.

    Raises:
        Refused: `name-not-branch`.
    """
    if word := named_outside(name):
        raise Refused(
            f'"{word[:LONGEST_NAME]}" isn\'t the name of a branch or a tag.',
            hint="Launch a branch or a tag by its name. A pull request has a preview of its own.",
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
    """Whether it is strangers' code that nobody has let run."""
    suspension = environment.desired.suspension
    return suspension is not None and suspension.reason in UNAPPROVED
