"""The mapping of repositories to applications: by the names in the configuration, then by repository id.

Once recorded, the mapping survives a rename or transfer of the repository, whose id stays the same. Where the
configuration names no owner, the application is bound to the first repository of its name, by id: others of
the same name are ignored.

All functions run inside a transaction.
"""

from __future__ import annotations

from stager.domain.application import Application, Applications
from stager.domain.pull_requests.events import NO_APPLICATION
from stager.domain.source import Repository, forge_of
from stager.ports.store import Transaction


def application_of(tx: Transaction, applications: Applications, repository: Repository) -> Application | None:
    """The application of this repository; None when it has none.

    A renamed repository keeps its application only while the configuration still matches its earlier name.
    """
    found = _by_name(tx, applications, repository)
    return None if found is None or _is_bound_elsewhere(tx, found, repository) else found


def why_not(tx: Transaction, applications: Applications, repository: Repository) -> str:
    """Why this repository belongs to no application, as the outcome of its delivery."""
    found = _by_name(tx, applications, repository)
    bound = _bound(tx, found.name, repository) if found else None
    if found is None or bound is None:
        return no_application(repository)
    return (
        f"refused: images.{found.name} is bound to {bound.full_name} with the repository id {bound.id};"
        f" this is {repository.full_name} with the id {repository.id}."
        f" Set images.{found.name}.repo_owner to the owner of the right repository"
    )


def no_application(repository: Repository) -> str:
    """The outcome of a delivery from a repository that no application is for."""
    return NO_APPLICATION + repository.full_name


def remember(
    tx: Transaction, application: Application, repository: Repository, called: Repository | None = None
) -> None:
    """Record that the repository belongs to this application.

    Args:
        called: the repository under the configured name, where the forge resolved that name to a renamed
            repository.
    """
    tx.save_repository(application.name, repository)
    _bind(tx, application.name, repository, rebind=bool(application.owner))
    named = called or repository
    if application.is_of(named):
        _note(tx, application.name, named)


def remember_adopted(tx: Transaction, app: str, repository: Repository) -> None:
    """Record the repository of an adopted preview, under its name at launch; no effect where a newer name is
    known."""
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
    if application.owner:  # The configuration decides.
        return False
    bound = _bound(tx, application.name, repository)
    return bound is not None and bound.id != repository.id


def _bound(tx: Transaction, app: str, repository: Repository) -> Repository | None:
    """The repository at the same forge that the application is bound to."""
    repository_id, _, name = tx.fact(_binding(app, repository)).partition(" ")
    if not repository_id:
        return None
    return Repository(repository_id, *name.split("/", 1))


def _bind(tx: Transaction, app: str, repository: Repository, *, rebind: bool = False) -> None:
    """Bind the application to this repository, unless it is bound already; `rebind` replaces the binding."""
    bound = _bound(tx, app, repository)
    bind_to = repository if bound is None or rebind or bound.id == repository.id else bound
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
