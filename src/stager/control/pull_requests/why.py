"""Reads the facts that tell why a pull request or branch has no preview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stager.control.environments.records import previews_of
from stager.control.forges import Forges
from stager.control.identity.authorizer import Authorizer
from stager.control.pull_requests.repositories import application_of, why_not
from stager.domain.application import Application, Applications
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.pull_requests.why import Facts, LastDelivery, Target, Why, unknown, why
from stager.domain.source import Change, Repository
from stager.ports.store import DeliveryRecord, Store, Transaction

LOOKED_AT = 1_000
"""Deliveries among which those about a pull request are looked for."""


@dataclass(frozen=True, slots=True)
class WhyAnswer:
    """An answer.

    Args:
        environment: the preview that it is about; None if there is none.
    """

    why: Why
    environment: Environment | None = None


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a question is about, which decides who may ask it."""

    repository: Repository
    application: Application | None
    change: Change | None
    environment: Environment | None

    @property
    def apps(self) -> frozenset[str]:
        """The applications that it concerns. A repository may have changed its application: then there may be
        a preview of the former one."""
        app = self.application.name if self.application else ""
        return frozenset({app, self.environment.app if self.environment else app} - {""})


class WhyQuery:
    """Answers "why is there no preview?"."""

    def __init__(
        self, store: Store, applications: Applications, authorizer: Authorizer, forges: Forges
    ) -> None:
        self._store = store
        self._applications = applications
        self._authorizer = authorizer
        self._forges = forges

    async def ask(self, target: Target, actor: Actor) -> WhyAnswer:
        """Why there is no preview of this pull request or branch. About a repository whose previews the actor
        may not see, the answer is the same as about an unknown one, and takes no longer: the rest is read
        only for those who may."""
        found = await self._store.read(lambda tx: self._subject(tx, target))
        shows_deliveries = await self._authorizer.may(actor, Action.READ_DELIVERIES)
        if not (
            all([await self._authorizer.may(actor, Action.SEE, each) for each in found.apps])
            if found.apps
            else shows_deliveries
        ):
            return WhyAnswer(unknown(target))
        facts = await self._store.read(lambda tx: self._facts(tx, target, found))
        shown = replace(
            facts,
            shows_deliveries=shows_deliveries,
            refused=facts.refused if shows_deliveries or not facts.refused else "Deliveries are refused.",
        )
        present = facts.environment is not None and facts.environment.desired.is_present
        return WhyAnswer(why(shown), facts.environment if present else None)

    def _subject(self, tx: Transaction, target: Target) -> _Subject:
        repository = _repository(tx, target)
        application = application_of(tx, self._applications, repository)
        change = _change(tx, repository, target)
        app = application.name if application else ""
        environment = _environment(tx, repository, target, change, app)
        return _Subject(repository, application, change, environment)

    def _facts(self, tx: Transaction, target: Target, found: _Subject) -> Facts:
        change, application = found.change, found.application
        facts = Facts(
            target,
            application,
            unbound="" if application else why_not(tx, self._applications, found.repository),
            is_pull_request=bool(target.number) or change is not None,
            change=change,
            environment=found.environment,
            has_forge=bool(self._forges),
        )
        facts = _with_deliveries(tx, facts, found.repository, change.number if change else target.number)
        return _with_deployments(tx, facts)


def _repository(tx: Transaction, target: Target) -> Repository:
    """The repository of this name that has the pull request, or else the first of this name."""
    same = [
        seen.repository
        for seen in tx.repositories()
        if seen.repository.full_name.lower() == target.repository.lower()
    ]
    known = (each for each in same if target.number and tx.change(each.id, target.number))
    return next(known, None) or next(iter(same), Repository("", *target.repository.split("/", 1)))


def _change(tx: Transaction, repository: Repository, target: Target) -> Change | None:
    if target.number:
        return tx.change(repository.id, target.number)
    of_branch = (c for c in tx.open_changes(repository.id) if c.head_ref == target.branch)
    return next(of_branch, None)


def _environment(
    tx: Transaction, repository: Repository, target: Target, change: Change | None, app: str
) -> Environment | None:
    """The preview of a pull request, or one that was launched by the branch's name."""
    number = change.number if change else target.number
    if not number:
        found = tx.environment_by_key(EnvironmentKey.of_name(app, target.branch))
        return found if found and found.desired.is_present else None
    present = previews_of(tx, repository, number)
    return next(iter(present), None) or tx.environment_by_key(
        EnvironmentKey.of_change(app, repository.id, number)
    )


def _with_deployments(tx: Transaction, facts: Facts) -> Facts:
    environment = facts.environment
    if environment is None:
        return facts
    generation, serving = environment.desired.generation, environment.serving
    older = serving if serving not in (None, generation) else None
    return replace(
        facts,
        deployment=tx.deployment_of(environment.id, generation),
        serving=None if older is None else tx.deployment_of(environment.id, older),
    )


def _with_deliveries(tx: Transaction, facts: Facts, repository: Repository, number: int) -> Facts:
    recent, name = tx.recent_deliveries(LOOKED_AT), repository.full_name.lower()
    about = (one for one in recent if number and one.about.lower() == f"{name}#{number}")
    newest = next(about, None)
    return replace(
        facts,
        delivery=LastDelivery(newest.event, newest.outcome, newest.is_set_aside) if newest else None,
        has_deliveries=any(one.about.lower().partition("#")[0].partition("@")[0] == name for one in recent),
        refused=_refused(tx, recent),
    )


def _refused(tx: Transaction, recent: Sequence[DeliveryRecord]) -> str:
    """The newest cause for which deliveries were refused since the last accepted one of their forge."""
    accepted = {one.forge: one.received_at for one in reversed(recent)}
    for one in tx.refused_deliveries():
        if one.forge not in accepted or one.at > accepted[one.forge]:
            return f"The forge's deliveries are refused: {one.message} {one.hint}".strip()
    return ""
