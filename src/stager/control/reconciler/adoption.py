"""Adopts running instances that the database doesn't have.

After the database was lost, the containers tell what runs, and the forge tells what should run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import structlog

from stager.control.environments.records import save_chosen_snapshot
from stager.control.pull_requests.repositories import remember_adopted
from stager.domain.attempt import Attempt
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import Desired, Environment, EnvironmentKey, Instance, InstanceLabels, RunState
from stager.domain.service import ServiceSpec
from stager.domain.source import Repository
from stager.ports.store import Transaction

log = structlog.get_logger(__name__)

EARLIER_RUN = "before it was adopted"
"""The run in `Attempt.healthy_runs` of what is adopted: it counts as having been healthy once, so that an
instance that has stopped is started again."""

Labelled = tuple[Instance, InstanceLabels]


def adopt(tx: Transaction, found: Iterable[Labelled], now: datetime) -> list[Instance]:
    """Save the environments and deployments of the instances whose environment isn't in the database.

    Returns:
        The instances that can't be adopted, because a newer environment has the key or the host of theirs.
    """
    by_environment: dict[str, list[Labelled]] = defaultdict(list)
    for instance, labels in found:
        by_environment[labels.environment].append((instance, labels))
    unknown = {id_: of_one for id_, of_one in by_environment.items() if tx.environment(id_) is None}
    rejected = [of_one for of_one in unknown.values() if not _adopt(tx, of_one, now)]
    return [instance for of_one in rejected for instance, _ in of_one]


def _adopt(tx: Transaction, found: list[Labelled], now: datetime) -> bool:
    """Save one environment, with the newest generation as the desired one.

    Also where only an older generation runs, which then serves until the newest is healthy. With the older
    one as the desired generation, the next deployment would get the number of the newest, and the plan would
    take the newest one's instance for it.
    """
    newest = max((labels for _, labels in found), key=lambda labels: labels.generation)
    environment = Environment(
        id=newest.environment,
        key=EnvironmentKey(newest.app, newest.subject),
        name=newest.name,
        host=newest.host,
        desired=Desired(
            RunState.RUNNING, newest.generation, newest.revision, newest.parameters, newest.trust
        ),
        created_at=now,
        updated_at=now,
        change=newest.change,
        volume_epoch=newest.volume_epoch,
        has_cloned_data=any(labels.snapshot for _, labels in found),
    )
    try:
        tx.save_environment(environment)
    except ValueError as error:
        log.warning("adoption_refused", environment=newest.environment, error=str(error))
        return False
    if newest.change is not None:
        link = newest.change
        remember_adopted(tx, newest.app, Repository(link.repository_id, link.owner, link.repository))
    _save_service_hosts(tx, environment, found)
    if newest.snapshot:
        save_chosen_snapshot(tx, environment.id, newest.generation, newest.snapshot)
    for generation in sorted({labels.generation for _, labels in found}):
        tx.save_deployment(_deployment(found, generation, now))
    log.info("environment_adopted", environment=newest.environment, app=newest.app, name=newest.name)
    return True


def _deployment(found: list[Labelled], generation: int, now: datetime) -> Deployment:
    """The deployment of a generation. That of several services is prepared again, because the labels don't
    say what they depend on."""
    of_one = [(instance, labels) for instance, labels in found if labels.generation == generation]
    instance, labels = of_one[-1]
    healthy_runs = dict.fromkeys((labels.service for _, labels in found), EARLIER_RUN)
    deployment = Deployment(
        labels.deployment,
        labels.environment,
        labels.revision,
        Attempt(generation, healthy_runs=healthy_runs),
        now,
    )
    if instance.generations:
        return deployment
    service = DeployedService(ServiceSpec(labels.service), "", instance.inputs, is_main=True)
    return replace(deployment, services=(service,))


def _save_service_hosts(tx: Transaction, environment: Environment, found: list[Labelled]) -> None:
    hosts = {
        labels.service: labels.service_host
        for _, labels in sorted(found, key=lambda one: one[1].generation)
        if labels.service_host not in ("", labels.host)
    }
    try:
        tx.save_service_hosts(environment.id, hosts)
    except ValueError as error:
        log.warning("adoption_refused", environment=environment.id, error=str(error))
