"""Reads and writes the external resources of environments. Commands and outputs may have secrets, so they are
encrypted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from stager.domain.errors import Refused
from stager.domain.external import ExternalResource, HookOutput, ResourceState, problem_of
from stager.ports.secret_box import SecretBox
from stager.ports.store import StateKind, Transaction


def problems_of(text: str) -> tuple[str, ...]:
    """Why resources of an environment aren't removed, a sentence each.

    Args:
        text: its stored state.
    """
    return tuple(filter(None, (problem_of(_plain(row)) for row in _rows(text))))


class ResourceRecords:
    """The external resources in a transaction."""

    def __init__(self, secret_box: SecretBox) -> None:
        self._secret_box = secret_box

    def of(self, tx: Transaction, environment_id: str) -> tuple[ExternalResource, ...]:
        """The resources of an environment, oldest first."""
        return self._read(tx.environment_state(environment_id, StateKind.EXTERNAL))

    def all(self, tx: Transaction) -> dict[str, tuple[ExternalResource, ...]]:
        """The resources of all environments that have any, by the environment's id."""
        found = tx.environment_states(StateKind.EXTERNAL)
        return {environment: self._read(text) for environment, text in found.items()}

    def add(self, tx: Transaction, environment_id: str, resource: ExternalResource) -> None:
        """Add a resource to those of an environment."""
        self._save(tx, environment_id, (*self.of(tx, environment_id), resource))

    def change(self, tx: Transaction, environment_id: str, resource: ExternalResource) -> None:
        """Replace the resource of the same id, if it is still there."""
        found = self.of(tx, environment_id)
        self._save(tx, environment_id, (resource if r.id == resource.id else r for r in found))

    def remove(self, tx: Transaction, environment_id: str, resource_id: str) -> None:
        """Remove a resource."""
        self._save(tx, environment_id, (r for r in self.of(tx, environment_id) if r.id != resource_id))

    def _save(self, tx: Transaction, environment_id: str, resources: Iterable[ExternalResource]) -> None:
        rows = [self._row(resource) for resource in resources]
        tx.save_environment_state(environment_id, StateKind.EXTERNAL, json.dumps(rows) if rows else "")

    def _row(self, resource: ExternalResource) -> dict[str, Any]:
        output = resource.output
        secret = {
            "before_kill": resource.before_kill,
            "variables": dict(output.variables),
            "secrets": dict(output.secrets),
        }
        return {
            "id": resource.id,
            "generation": resource.generation,
            "state": resource.state.value,
            "folder": resource.folder,
            "timeout": resource.timeout,
            "failures": resource.failures,
            "retry_at": resource.retry_at.isoformat() if resource.retry_at else "",
            "problem": resource.problem,
            "sealed": resource.unreadable or self._secret_box.close(json.dumps(secret)),
        }

    def _read(self, text: str) -> tuple[ExternalResource, ...]:
        return tuple(self._resource(row) for row in _rows(text))

    def _resource(self, row: dict[str, Any]) -> ExternalResource:
        resource = _plain(row)
        try:
            secret = json.loads(self._secret_box.open(row["sealed"]))
        except Refused:
            # Its variables are created again at the next launch.
            state = resource.state if resource.state is ResourceState.REMOVING else ResourceState.CREATING
            return replace(resource, state=state, unreadable=row["sealed"])
        output = HookOutput(secret["variables"], secret["secrets"])
        return replace(resource, before_kill=tuple(secret["before_kill"]), output=output)


def _rows(text: str) -> list[dict[str, Any]]:
    return json.loads(text) if text else []


def _plain(row: dict[str, Any]) -> ExternalResource:
    """A resource without what is encrypted."""
    return ExternalResource(
        id=row["id"],
        generation=row["generation"],
        state=ResourceState(row["state"]),
        folder=row["folder"],
        timeout=row["timeout"],
        failures=row["failures"],
        retry_at=datetime.fromisoformat(row["retry_at"]) if row["retry_at"] else None,
        problem=row["problem"],
    )
