"""Takes in running instances that the database doesn't know: after it was lost, the containers are the truth
about what runs, and the forge about what should."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import structlog

from stager.control.pull_requests.repositories import remember_adopted
from stager.domain.deployment import Deployment
from stager.domain.environment import (
    Attempt,
    Desired,
    Environment,
    EnvironmentKey,
    Instance,
    InstanceLabels,
    RunState,
)
from stager.domain.source import Repository
from stager.ports.store import Transaction

log = structlog.get_logger(__name__)

SOME_RUN = "before it was adopted"
"""What is adopted counts as having answered once: when it is found stopped, it is started again."""

Born = tuple[Instance, InstanceLabels]


def adopt(tx: Transaction, born: Iterable[Born], now: datetime) -> list[Instance]:
    """Write down the environments of those instances that nobody knows.

    Returns:
        The orphans: instances whose environment can't be adopted, because a younger one stands in its place.
    """
    families: dict[str, list[Born]] = defaultdict(list)
    for instance, birth in born:
        families[birth.environment].append((instance, birth))
    unknown = {id_: family for id_, family in families.items() if tx.environment(id_) is None}
    rejected = [family for family in unknown.values() if not _adopt(tx, family, now)]
    return [instance for family in rejected for instance, _ in family]


def _adopt(tx: Transaction, family: list[Born], now: datetime) -> bool:
    """One environment: the newest is what should be, until somebody says otherwise.

    Also where only an older one runs: that one serves until the newest does. And were it the older one's
    generation that counts, the next wish would get the newest one's, and that be taken for it.
    """
    birth = max((birth for _, birth in family), key=lambda birth: birth.generation)
    environment = Environment(
        id=birth.environment,
        key=EnvironmentKey(birth.app, birth.subject),
        name=birth.name,
        host=birth.host,
        desired=Desired(RunState.RUNNING, birth.generation, birth.revision, birth.parameters, birth.trust),
        created_at=now,
        updated_at=now,
        change=birth.change,
    )
    try:
        tx.save_environment(environment)
    except ValueError as error:
        # A younger environment has its key or its host: that one counts, and this one's containers must go.
        log.warning("not_adopted", environment=birth.environment, error=str(error))
        return False
    if birth.change is not None:
        link = birth.change
        remember_adopted(tx, birth.app, Repository(link.repository_id, link.owner, link.repository))
    for other in {b.generation: b for _, b in family}.values():
        attempt = Attempt(other.generation, healthy_run=SOME_RUN)
        tx.save_deployment(Deployment(other.deployment, birth.environment, other.revision, attempt, now))
    log.info("adopted", environment=birth.environment, app=birth.app, name=birth.name)
    return True
