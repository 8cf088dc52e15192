"""Records which live previews no longer answer, as the front observes from visitors' requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import structlog

from stager.domain.attempts import after_silence, after_sound, has_gone_silent
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)


class Liveness:
    """Keeps the stored deployments up to date with the front's observations.

    Args:
        store: has the deployments that serve.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: frozenset[str] | None = None

    async def compare(self, unresponsive: frozenset[str]) -> list[str]:
        """Store the changes. Returns the ids of the environments that changed.

        Args:
            unresponsive: all hosts that are unresponsive now.
        """
        before = self._known
        if before == unresponsive:
            return []
        changed = await self._store.write(lambda tx: _save(tx, unresponsive, before))
        self._known = unresponsive
        for environment_id, is_unresponsive in changed:
            log.warning("unresponsive" if is_unresponsive else "responsive", environment=environment_id)
        return [environment_id for environment_id, _ in changed]


def _save(
    tx: Transaction, unresponsive: frozenset[str], before: frozenset[str] | None
) -> list[tuple[str, bool]]:
    """Returns the environments that changed, each with whether it is unresponsive now. The first call
    compares all."""
    hosts: Iterable[str] = (
        {environment.host for environment in tx.environments(present=True)}
        if before is None
        else unresponsive ^ before
    )
    changed = []
    for host in hosts:
        environment = tx.environment_by_host(host)
        serving = environment.serving if environment else None
        deployment = tx.deployment_of(environment.id, serving) if environment and serving else None
        is_unresponsive = host in unresponsive
        if (
            environment is None
            or deployment is None
            or has_gone_silent(deployment.attempt) == is_unresponsive
        ):
            continue
        attempt = after_silence(deployment.attempt) if is_unresponsive else after_sound(deployment.attempt)
        if attempt != deployment.attempt:
            tx.save_deployment(replace(deployment, attempt=attempt))
            changed.append((environment.id, is_unresponsive))
    return changed
