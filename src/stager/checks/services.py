"""The check for live previews with a service that isn't healthy."""

from __future__ import annotations

from collections.abc import Sequence

from stager.domain.deployment import degraded
from stager.domain.environment import Environment
from stager.domain.errors import Outcome
from stager.domain.status import State, status_of
from stager.ports.diagnostics import Finding, Verdict
from stager.ports.store import Store, Transaction

MAX_FINDINGS = 50


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
