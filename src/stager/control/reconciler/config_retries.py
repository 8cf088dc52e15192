"""Retries failed deployments at a start, if a change since may have removed the cause: of the configuration
or of Stager.

A digest of each entry under `images:` is stored. It is keyed with a key outside the database, because entries
contain secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import asdict

import structlog

from stager.control.environments.desired_state import DesiredState
from stager.domain.application import Application, Applications
from stager.domain.environment import Environment
from stager.domain.unexpected import INTERNAL_ERROR
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

ABSENT = "absent"
"""The digest of a missing entry, so that adding it again is a change."""
INSTALLATION_REASONS = {
    *(INTERNAL_ERROR, "disk-full", "source-disk-full"),
    *("builder-missing", "git-missing", "lfs-missing"),
    *("forge-missing", "source-unknown", "source-refused", "repository-missing", "image-missing"),
}
"""Reasons that another version of Stager, an installed program, free disk space or credentials elsewhere in
the configuration may remove."""


class ConfigRetries:
    """Compares the configuration with that of the last start.

    Args:
        key: of the digests.
    """

    def __init__(
        self, store: Store, desired_state: DesiredState, applications: Applications, key: bytes
    ) -> None:
        self._store = store
        self._desired_state = desired_state
        self._applications = applications
        self._key = key

    async def begin(self) -> None:
        """Request a new deployment of what failed, if that may help. Raises the store's errors."""
        for environment in await self._store.write(self._tried):
            log.info(
                "deployment_retried", environment=environment.id, app=environment.app, name=environment.name
            )

    def _tried(self, tx: Transaction) -> list[Environment]:
        present = tx.environments(present=True)
        known = {a.name for a in self._applications}
        changed = self._changed(tx, known | {environment.app for environment in present})
        failed = [e for e in present if e.app in known and _has_failed(tx, e, changed)]
        return [self._desired_state.repeat(tx, e) for e in failed]

    def _changed(self, tx: Transaction, apps: Iterable[str]) -> set[str]:
        """The applications whose entry has changed; none at the first start."""
        changed = set()
        for app in sorted(apps):
            before, now = tx.fact(_fact(app)), self._digest(self._applications.find(app))
            if before != now:
                tx.save_fact(_fact(app), now)
            if before not in ("", now):
                changed.add(app)
        return changed

    def _digest(self, application: Application | None) -> str:
        if application is None:
            return ABSENT
        text = json.dumps(asdict(application), sort_keys=True, default=_plain)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def _has_failed(tx: Transaction, environment: Environment, changed: set[str]) -> bool:
    """Whether its deployment was given up for a reason that may be gone."""
    deployment = tx.deployment_of(environment.id, environment.desired.generation)
    if deployment is None or not deployment.attempt.final or not environment.desired.keeps_instances:
        return False
    outcome = deployment.attempt.outcome
    return environment.app in changed or (outcome is not None and outcome.reason in INSTALLATION_REASONS)


def _plain(value: object) -> object:
    """A JSON value for other types; sets are sorted, because they have no order."""
    return sorted(value) if isinstance(value, frozenset | set) else str(value)


def _fact(app: str) -> str:
    return f"entry:{app}"
