"""Remembers which live previews have stopped answering, as the front sees it from its visitors' requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import structlog

from stager.domain.attempts import after_silence, after_sound, has_gone_silent
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)


class Liveness:
    """Keeps what is remembered in step with what the front says.

    Args:
        store: where it is remembered, with the deployment that serves.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: frozenset[str] | None = None

    async def compare(self, unresponsive: frozenset[str]) -> list[str]:
        """The ids of the environments for which something changed.

        Args:
            unresponsive: all hosts that are it now.
        """
        before = self._known
        if before == unresponsive:
            return []
        changed = await self._store.write(lambda tx: _remember(tx, unresponsive, before))
        self._known = unresponsive
        for environment_id, is_silent in changed:
            log.warning("unresponsive" if is_silent else "responsive", environment=environment_id)
        return [environment_id for environment_id, _ in changed]


def _remember(
    tx: Transaction, unresponsive: frozenset[str], before: frozenset[str] | None
) -> list[tuple[str, bool]]:
    """Those that changed, each with whether it is silent now. The first time, all are looked at."""
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
        is_silent = host in unresponsive
        if environment is None or deployment is None or has_gone_silent(deployment.attempt) == is_silent:
            continue
        attempt = after_silence(deployment.attempt) if is_silent else after_sound(deployment.attempt)
        if attempt != deployment.attempt:
            tx.save_deployment(replace(deployment, attempt=attempt))
            changed.append((environment.id, is_silent))
    return changed
