"""Rolls previews back: a new deployment of an earlier revision, from the images that are still there."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from stager.control.environments.desired_state import DesiredState
from stager.control.environments.lookup import existing, newer_than
from stager.control.environments.queries import Queries
from stager.control.environments.records import current_content
from stager.control.environments.scheduler import Scheduler
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Fault, Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.rollback import chosen_revision, effect_on_data, title
from stager.ports.engine import Images
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RolledBack:
    """An environment that is rolled back.

    Args:
        revision: what it is rolled back to, such as `commit 0123456`.
        data: what that does to its volumes; empty if it has none.
    """

    environment: Environment
    revision: str
    data: str


class Rollback:
    """Rolls previews back."""

    def __init__(
        self,
        store: Store,
        images: Images,
        queries: Queries,
        desired_state: DesiredState,
        scheduler: Scheduler,
    ) -> None:
        self._store = store
        self._images = images
        self._queries = queries
        self._desired_state = desired_state
        self._scheduler = scheduler

    async def roll_back(
        self, environment_id: str, actor: Actor, to: str = "", generation: int | None = None
    ) -> RolledBack:
        """Start a new deployment of an earlier revision, without a build.

        Args:
            to: the first digits of a commit id or the number of a deployment; empty for the last revision
                that was live before the current one.
            generation: the one that the actor saw; if there is a newer one, nothing changes. None: any.

        Raises:
            Refused: with the reason; nothing has changed.
            Retry: the engine doesn't answer.
        """
        async with self._queries.acting(environment_id, actor, Action.ROLL_BACK):
            newer = await self._store.read(lambda tx: newer_than(tx, environment_id, generation))
            if newer is not None:
                return RolledBack(newer, "", "")
            target = await self._store.read(lambda tx: _target(tx, environment_id, to))
            await self._check_images(target)
            environment = await self._store.write(
                lambda tx: (
                    newer_than(tx, environment_id, generation) or self._request(tx, environment_id, target)
                )
            )
            log.info("roll_back", environment=environment.id, name=environment.name, to=title(target))
            await self._scheduler.show_and_schedule(environment)
        return RolledBack(environment, title(target), effect_on_data(target))

    async def _check_images(self, target: Deployment) -> None:
        """Refuse a revision of which an image is gone. A prebuilt image that was removed isn't pulled again:
        its id isn't a name in a registry."""
        for image in sorted(target.images):
            try:
                await self._images.resolve(image)
            except Fault as error:
                raise Refused(
                    f"An image of {title(target)} was removed, so it can't be launched without a build.",
                    hint="Push that commit again, or choose another revision. `builds.keep_revisions` says "
                    "how many earlier revisions keep their images.",
                    reason="rollback-image-missing",
                    status=409,
                ) from error

    def _request(self, tx: Transaction, environment_id: str, target: Deployment) -> Environment:
        return self._desired_state.roll_back(tx, _running(tx, environment_id), target)


def _target(tx: Transaction, environment_id: str, to: str) -> Deployment:
    environment = _running(tx, environment_id)
    current = current_content(tx, environment)
    if current is None:
        raise _nothing_runs(environment)
    return chosen_revision(environment, tx.deployments(environment_id), current, to)


def _running(tx: Transaction, environment_id: str) -> Environment:
    """The environment, if it has something to roll back."""
    environment = existing(tx, environment_id)
    if not environment.desired.keeps_instances:
        raise _nothing_runs(environment)
    return environment


def _nothing_runs(environment: Environment) -> Refused:
    return Refused(
        f'The preview "{environment.name}" doesn\'t run, so there is nothing to roll back.',
        hint="Launch it first, or push a commit.",
        reason="rollback-not-running",
        status=409,
    )
