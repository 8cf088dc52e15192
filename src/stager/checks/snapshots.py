"""Checks for snapshots: those that failed since an application's last good one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stager.domain.snapshot import Snapshot, SnapshotState
from stager.ports.diagnostics import Finding, Verdict
from stager.ports.store import Store


class SnapshotCheck:
    """Reports the newest snapshot of each application, if it failed."""

    subject = "snapshots"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        snapshots = await self._store.read(lambda tx: tx.snapshots())
        failed = [_finding(each) for each in _newest(snapshots) if each.state is SnapshotState.FAILED]
        ready = sum(each.is_ready for each in snapshots)
        count = "1 snapshot is ready" if ready == 1 else f"{ready} snapshots are ready"
        return failed or [Finding(self.subject, Verdict.OK, f"{count}; the newest of no application failed.")]


def _newest(snapshots: Sequence[Snapshot]) -> Iterator[Snapshot]:
    """The newest snapshot of each application, without those that are being made or deleted."""
    ended = [each for each in snapshots if each.state in (SnapshotState.READY, SnapshotState.FAILED)]
    for app in sorted({each.app for each in ended}):
        yield max((each for each in ended if each.app == app), key=lambda each: each.number)


def _finding(snapshot: Snapshot) -> Finding:
    problem = snapshot.problem
    message = problem.message if problem else "The cause is unknown."
    return Finding(
        SnapshotCheck.subject,
        Verdict.WARNING,
        f"{snapshot.app}: {snapshot.title} failed: {message}",
        problem.hint if problem else "",
    )
