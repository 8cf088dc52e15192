"""Which application a repository's changes are previews of: the one that the configuration has for its name.

Once that was seen, it is the same one when the repository is renamed or transferred: its id outlives both.

`intake`, `resync` and `speaking` ask here, inside a transaction; `adoption` tells what it finds.
"""

from __future__ import annotations

from stager.control.applications import Application, Applications
from stager.domain.source import Repository
from stager.ports.store import Transaction


def application_of(tx: Transaction, applications: Applications, repository: Repository) -> Application | None:
    """The application of this repository; None when it is none of ours.

    What was ours under an earlier name stays so only for as long as the configuration has room for that name:
    whoever takes its owner out of it wants it no longer.
    """
    app, _, name = tx.fact(_fact(repository)).partition(" ")
    known = applications.find(app)
    owner, _, name = name.partition("/")
    if known is not None and known.is_of(Repository(repository.id, owner, name)):
        return known
    return applications.of_repository(repository)


def remember(
    tx: Transaction, application: Application, repository: Repository, called: Repository | None = None
) -> None:
    """Write down that the repository is this application's.

    Args:
        called: by the name that the configuration has, where a forge was asked for that and answered with
            this one, which is called otherwise by now.
    """
    tx.save_repository(application.name, repository)
    named = called or repository
    if application.is_of(named):
        _note(tx, application.name, named)


def remember_adopted(tx: Transaction, app: str, repository: Repository) -> None:
    """Write down that a preview of this application was found, whose repository was called so when it was
    made; no effect where more is known."""
    if not tx.fact(_fact(repository)):
        _note(tx, app, repository)


def _note(tx: Transaction, app: str, repository: Repository) -> None:
    text = f"{app} {repository.full_name}"
    if tx.fact(_fact(repository)) != text:
        tx.save_fact(_fact(repository), text)


def _fact(repository: Repository) -> str:
    return f"repository:{repository.id}"
