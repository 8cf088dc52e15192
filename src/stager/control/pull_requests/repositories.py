"""Which application a repository's changes are previews of: the one that the configuration has for its name.

Once that was seen, it is the same one when the repository is renamed or transferred: its id outlives both.
Where the configuration names no owner, the application is bound to the first repository of its name, by id:
another one of that name is none of ours.

`intake`, `resync` and `speaking` ask here, inside a transaction; `adoption` tells what it finds.
"""

from __future__ import annotations

from stager.domain.application import Application, Applications
from stager.domain.source import Repository, forge_of
from stager.ports.store import Transaction


def application_of(tx: Transaction, applications: Applications, repository: Repository) -> Application | None:
    """The application of this repository; None when it is none of ours.

    What was ours under an earlier name stays so only for as long as the configuration has room for that name:
    whoever takes its owner out of it wants it no longer.
    """
    found = _by_name(tx, applications, repository)
    return None if found is None or _is_bound_elsewhere(tx, found, repository) else found


def why_not(tx: Transaction, applications: Applications, repository: Repository) -> str:
    """Why this repository is none of ours, as the outcome of its delivery."""
    found = _by_name(tx, applications, repository)
    bound = _bound(tx, found.name, repository) if found else None
    if found is None or bound is None:
        return f"ignored: no entry under images: is for {repository.full_name}"
    return (
        f"refused: images.{found.name} is bound to {bound.full_name}, the repository with the id {bound.id};"
        f" this is {repository.full_name} with the id {repository.id}."
        f" Set images.{found.name}.repo_owner to the owner of the right one"
    )


def remember(
    tx: Transaction, application: Application, repository: Repository, called: Repository | None = None
) -> None:
    """Write down that the repository is this application's.

    Args:
        called: by the name that the configuration has, where a forge was asked for that and answered with
            this one, which is called otherwise by now.
    """
    tx.save_repository(application.name, repository)
    _bind(tx, application.name, repository, anew=bool(application.owner))
    named = called or repository
    if application.is_of(named):
        _note(tx, application.name, named)


def remember_adopted(tx: Transaction, app: str, repository: Repository) -> None:
    """Write down that a preview of this application was found, whose repository was called so when it was
    made; no effect where more is known."""
    _bind(tx, app, repository)
    if not tx.fact(_fact(repository)):
        _note(tx, app, repository)


def _by_name(tx: Transaction, applications: Applications, repository: Repository) -> Application | None:
    app, _, name = tx.fact(_fact(repository)).partition(" ")
    known = applications.find(app)
    owner, _, name = name.partition("/")
    if known is not None and known.is_of(Repository(repository.id, owner, name)):
        return known
    return applications.of_repository(repository)


def _is_bound_elsewhere(tx: Transaction, application: Application, repository: Repository) -> bool:
    if application.owner:  # the configuration says which it is
        return False
    bound = _bound(tx, application.name, repository)
    return bound is not None and bound.id != repository.id


def _bound(tx: Transaction, app: str, repository: Repository) -> Repository | None:
    """The repository that the application is bound to, of those in the same forge as this one."""
    repository_id, _, name = tx.fact(_binding(app, repository)).partition(" ")
    if not repository_id:
        return None
    return Repository(repository_id, *name.split("/", 1))


def _bind(tx: Transaction, app: str, repository: Repository, *, anew: bool = False) -> None:
    """Bind the application to this repository, unless it is bound; or anew."""
    bound = _bound(tx, app, repository)
    bind_to = repository if bound is None or anew or bound.id == repository.id else bound
    text = f"{bind_to.id} {bind_to.full_name}"
    if tx.fact(_binding(app, repository)) != text:
        tx.save_fact(_binding(app, repository), text)


def _binding(app: str, repository: Repository) -> str:
    return f"bound:{forge_of(repository.id)}:{app}"


def _note(tx: Transaction, app: str, repository: Repository) -> None:
    text = f"{app} {repository.full_name}"
    if tx.fact(_fact(repository)) != text:
        tx.save_fact(_fact(repository), text)


def _fact(repository: Repository) -> str:
    return f"repository:{repository.id}"
