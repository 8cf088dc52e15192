"""Previews that are launched, visited and asleep, while everything around them goes wrong, in rounds."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import app_image, engine, second_engine
from tests.integration.faults import FAULTS, ClockedStager
from tests.integration.faulty_previews import stager_on_small_disk, suffer
from tests.integration.own_engine import OwnEngine

__all__ = ["app_image", "engine", "second_engine"]

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get("STAGER_SOAK"), reason="takes many minutes: scripts/soak runs it"),
]

ROUNDS = int(os.environ.get("STAGER_SOAK_ROUNDS", "3"))


@pytest.fixture
def stager(tmp_path: Path, app_image: str, engine: OwnEngine) -> Iterator[ClockedStager]:
    with stager_on_small_disk(tmp_path, app_image) as stager:
        yield stager


def test_nothing_is_lost_and_nothing_is_left(stager: ClockedStager, engine: OwnEngine) -> None:
    seed = int(os.environ.get("STAGER_SEED", "0")) or secrets.randbelow(1 << 32)
    print(f"STAGER_SEED={seed}")
    dice = random.Random(seed)
    suffer(
        stager, engine, dice, [name for _ in range(ROUNDS) for name in dice.sample(list(FAULTS), len(FAULTS))]
    )
