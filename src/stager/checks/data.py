"""Checks the data pool."""

from __future__ import annotations

from collections.abc import Sequence

from stager.data_pool import DataPool, PoolStatus
from stager.domain.errors import Retry, StagerError
from stager.ports.diagnostics import Finding, Verdict

COPIED = "Snapshots and clones of data are plain copies"
SETUP = "To create a data pool, see docs/how-to/root-helper.md#the-data-pool."


class DataCheck:
    """Checks that the data pool works.

    Args:
        pool: None if the helper is off.
    """

    subject = "data"

    def __init__(self, pool: DataPool | None) -> None:
        self._pool = pool

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        if self._pool is None:
            return [self._finding(Verdict.OK, f"{COPIED}, because of `helper: off`.")]
        try:
            return [self._of(await self._pool.status())]
        except Retry:
            return [self._finding(Verdict.OK, f"{COPIED}: there is no root helper.", SETUP)]
        except StagerError as error:
            return [self._finding(Verdict.WARNING, error.message, error.hint)]

    def _of(self, status: PoolStatus) -> Finding:
        if status.state == "none":
            return self._finding(Verdict.OK, f"{COPIED}: {status.problem}", status.hint)
        if status.state == "broken":
            return self._finding(Verdict.ERROR, status.problem, status.hint)
        if status.problem:
            return self._finding(Verdict.WARNING, status.problem, status.hint)
        return self._finding(Verdict.OK, summary(status))

    def _finding(self, verdict: Verdict, message: str, hint: str = "") -> Finding:
        return Finding(self.subject, verdict, message, hint)


def summary(status: PoolStatus) -> str:
    """Describe a pool that is ready, in a sentence."""
    kind = {"xfs": "XFS"}.get(status.file_system, status.file_system)
    if status.storage == "loop":
        kind += " in a file with reserved blocks" if status.reserved else " in a sparse file"
    available, size = status.available / (1 << 30), status.size / (1 << 30)
    return f"The data pool at {status.folder} ({kind}) has {available:.1f} of {size:.1f} GB available."
