"""What failed is tried once more at a start, where something has changed since that may help: the entry under
`images:`, or Stager itself.

A digest of each entry is kept, made with a key that isn't in the database: entries have secrets in them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import asdict

import structlog

from stager.control.environments.desired_state import DesiredState, repeated
from stager.domain.application import Application, Applications
from stager.domain.environment import Environment
from stager.domain.unexpected import INTERNAL_ERROR
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

ABSENT = "absent"
"""The digest of an entry that isn't there: putting it back changes something."""
OF_THE_INSTALLATION = {
    *(INTERNAL_ERROR, "disk-full", "source-disk-full"),
    *("builder-missing", "git-missing", "lfs-missing"),
    *("forge-missing", "source-unknown", "source-refused", "repository-missing", "image-missing"),
}
"""Reasons that another version of Stager, a program that was installed, room that was made, or credentials
elsewhere in the configuration may take away."""


class ConfigRetries:
    """Compares the configuration with the one before.

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
        """Wish once more for what failed, where that may help. Raises what the store does."""
        for environment in await self._store.write(self._tried):
            log.info("tried_again", environment=environment.id, app=environment.app, name=environment.name)

    def _tried(self, tx: Transaction) -> list[Environment]:
        present = tx.environments(present=True)
        known = {a.name for a in self._applications}
        changed = self._changed(tx, known | {environment.app for environment in present})
        failed = [e for e in present if e.app in known and _has_failed(tx, e, changed)]
        return [self._desired_state.request(tx, repeated(e, e.desired.parameters)) for e in failed]

    def _changed(self, tx: Transaction, apps: Iterable[str]) -> set[str]:
        """Those of which another entry was known before; none was before the first start."""
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
    """Whether its deployment was given up for a reason that may have gone."""
    deployment = tx.deployment_of(environment.id, environment.desired.generation)
    if deployment is None or not deployment.attempt.final or not environment.desired.should_run:
        return False
    outcome = deployment.attempt.outcome
    return environment.app in changed or (outcome is not None and outcome.reason in OF_THE_INSTALLATION)


def _plain(value: object) -> object:
    """A value that JSON has no word for: sets have no order."""
    return sorted(value) if isinstance(value, frozenset | set) else str(value)


def _fact(app: str) -> str:
    return f"entry:{app}"
