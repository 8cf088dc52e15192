"""A check for external resources that a hook doesn't remove."""

from __future__ import annotations

from collections.abc import Sequence

from stager.control.environments.resource_records import problems_of
from stager.ports.diagnostics import Finding, Verdict
from stager.ports.store import StateKind, Store, Transaction

HINT = (
    "Stager runs the command that was configured when the preview was created. Once it exits with 0, the"
    " resource counts as removed."
)


class ExternalCheck:
    """A `stager.ports.diagnostics.Check`: reports resources whose `before_kill` hook fails."""

    subject = "external resources"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> Sequence[Finding]:
        """See `Check.run`."""
        count, problems = await self._store.read(_read)
        if problems:
            return [Finding(self.subject, Verdict.ERROR, problem, HINT) for problem in problems]
        return [Finding(self.subject, Verdict.OK, _summary(count))]


def _read(tx: Transaction) -> tuple[int, list[str]]:
    """The number of previews with resources, and the problems with the names of their previews."""
    found = tx.environment_states(StateKind.EXTERNAL)
    names = {e.id: f"{e.app}, {e.name}" for e in tx.environments() if e.id in found}
    problems = [f"{names[one]}: {problem}" for one, text in found.items() for problem in problems_of(text)]
    return len(found), problems


def _summary(count: int) -> str:
    previews = "1 preview has" if count == 1 else f"{count} previews have"
    return f"{previews} resources that server hooks have created; none fails to be removed."
