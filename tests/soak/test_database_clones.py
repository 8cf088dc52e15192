"""Fifty clones of real databases; see `tests/integration/test_database_clones.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.contracts.data import storage_under_test
from tests.integration.databases import MARIADB, POSTGRES, Database, check_clones, snapshot_while_writing

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get("STAGER_SOAK"), reason="takes many minutes: scripts/soak runs it"),
]

CLONES = 50


@pytest.mark.parametrize("kind", ["copies", "pool"])
@pytest.mark.parametrize("database", [POSTGRES, MARIADB], ids=lambda each: each.kind)
async def test_fifty_clones_are_sound_and_apart(database: Database, kind: str, tmp_path: Path) -> None:
    async with storage_under_test(kind, tmp_path) as storage:
        await snapshot_while_writing(storage, database)
        await check_clones(storage, database, CLONES)
