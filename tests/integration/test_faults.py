"""Each fault around a Stager once, while its previews are launched, visited and asleep. `scripts/soak` plays
many rounds."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.faults import FAULTS, ClockedStager
from tests.integration.faulty_previews import stager_on_small_disk, suffer
from tests.integration.own_engine import OwnEngine

pytestmark = pytest.mark.docker


@pytest.fixture
def stager(tmp_path: Path, app_image: str, engine: OwnEngine) -> Iterator[ClockedStager]:
    with stager_on_small_disk(tmp_path, app_image) as stager:
        yield stager


def test_each_fault_once(stager: ClockedStager, engine: OwnEngine) -> None:
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    suffer(stager, engine, random.Random(seed), FAULTS, asleep=0.1)
