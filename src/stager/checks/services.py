"""Checks of the services of previews: whether one failed, and whether their volumes are limited."""

from __future__ import annotations

from collections.abc import Sequence

from stager.domain.attempt import degraded
from stager.domain.environment import Environment
from stager.domain.errors import Outcome
from stager.domain.service import UNBOUNDED_VOLUMES, has_volumes
from stager.domain.source import Trust
from stager.domain.status import State, status_of
from stager.ports.diagnostics import Finding, Verdict
from stager.ports.store import Store, Transaction

MAX_FINDINGS = 50
MAX_NAMES = 10
VOLUME_HINT = (
    "`forks: approve` runs only commits of forks that somebody with push access has approved, and `forks:"
    " off` none. `stager show --volumes` prints the sizes."
)


class ServiceCheck:
    """Reports each service of a live preview that isn't healthy."""

    subject = "services"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        found = await self._store.read(_failures)
        ok = Finding(self.subject, Verdict.OK, "No live preview has a failed service.")
        return [_finding(*each) for each in found[:MAX_FINDINGS]] or [ok]


def _failures(tx: Transaction) -> list[tuple[Environment, Outcome]]:
    return [
        (environment, outcome)
        for environment, deployment in tx.environments_with_deployments(present=True)
        if deployment is not None and status_of(environment, deployment).state is State.DEGRADED
        for outcome in degraded(deployment.attempt).values()
    ]


def _finding(environment: Environment, outcome: Outcome) -> Finding:
    which = f"{environment.app}, {environment.name}"
    return Finding(ServiceCheck.subject, Verdict.WARNING, f"{which}: {outcome.message}", outcome.hint)


class VolumeCheck:
    """Reports previews of untrusted code with volumes, whose size isn't limited."""

    subject = "volumes"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        names = await self._store.read(_with_unbounded_volumes)
        if not names:
            return [Finding(self.subject, Verdict.OK, "No preview of a fork has named volumes.")]
        others = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        message = f"{UNBOUNDED_VOLUMES} Previews: {'; '.join(names[:MAX_NAMES])}{others}."
        return [Finding(self.subject, Verdict.WARNING, message, VOLUME_HINT)]


def _with_unbounded_volumes(tx: Transaction) -> list[str]:
    return [
        f"{environment.app}, {environment.name}"
        for environment, deployment in tx.environments_with_deployments(present=True)
        if environment.desired.trust is not Trust.TRUSTED
        and environment.keeps_volumes
        and deployment is not None
        and has_volumes(deployment.specs)
    ]
