"""What `doctor` says about snapshots."""

from __future__ import annotations

from datetime import UTC, datetime

from stager.checks.snapshots import SnapshotCheck
from stager.domain.errors import Outcome
from stager.domain.snapshot import Snapshot, SnapshotState
from stager.ports.diagnostics import Verdict
from stager.testing import MemoryStore

PROBLEM = Outcome("fault", "mask-failed", "The script for database failed.", "Correct the script.")


async def findings(*snapshots: tuple[str, int, SnapshotState]) -> list[tuple[Verdict, str]]:
    store = MemoryStore()
    for app, number, state in snapshots:
        problem = PROBLEM if state is SnapshotState.FAILED else None
        made = Snapshot(
            f"{app}{number}", app, number, state, datetime.now(UTC), "ann", "preview x", problem=problem
        )
        await store.write(lambda tx, made=made: tx.save_snapshot(made))  # type: ignore[misc]
    return [(finding.verdict, finding.message) for finding in await SnapshotCheck(store).run()]


async def test_a_failure_since_the_last_good_one_is_named() -> None:
    found = await findings(
        ("docs", 1, SnapshotState.FAILED),
        ("docs", 2, SnapshotState.READY),
        ("shop", 1, SnapshotState.READY),
        ("shop", 2, SnapshotState.FAILED),
        ("shop", 3, SnapshotState.MAKING),
    )

    assert found == [(Verdict.WARNING, "shop: snapshot 2 failed: The script for database failed.")]


async def test_without_one_the_ready_ones_are_counted() -> None:
    assert await findings(("shop", 1, SnapshotState.READY)) == [
        (Verdict.OK, "1 snapshot is ready; the newest of no application failed.")
    ]
    assert await findings() == [(Verdict.OK, "0 snapshots are ready; the newest of no application failed.")]
