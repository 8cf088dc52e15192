"""Clones of real databases: taken after a clean stop of a server that was writing, they are sound, and each
has its own rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.data import storage_under_test
from tests.integration.databases import MARIADB, POSTGRES, Database, check_clones, snapshot_while_writing

pytestmark = pytest.mark.docker

CLONES = 5


@pytest.mark.parametrize(
    ("database", "kind"),
    [(POSTGRES, "copies"), (POSTGRES, "pool"), (MARIADB, "pool")],
    ids=["postgres-copies", "postgres-pool", "mariadb-pool"],
)
async def test_clones_are_sound_and_apart(database: Database, kind: str, tmp_path: Path) -> None:
    async with storage_under_test(kind, tmp_path) as storage:
        await snapshot_while_writing(storage, database)
        await check_clones(storage, database, CLONES)
