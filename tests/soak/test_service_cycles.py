"""Forty random cycles of previews with services, each ended by `kill -9` of Stager."""

from __future__ import annotations

import os
import secrets

import pytest

from tests.integration.conftest import MakeStager, app_image, make_stager
from tests.integration.service_cycles import SERVICES, Cycles

__all__ = ["app_image", "make_stager"]

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get("STAGER_SOAK"), reason="takes many minutes: scripts/soak runs it"),
]


def test_forty_cycles_leave_nothing_behind(make_stager: MakeStager) -> None:
    seed = int(os.environ.get("STAGER_SEED", "0")) or secrets.randbelow(1 << 32)
    print(f"STAGER_SEED={seed}")
    stager = make_stager(images={"shop": {"services": SERVICES, "memory": "384m"}})
    cycles = Cycles(stager, seed)
    cycles.run(40)
    cycles.settle()
    cycles.remove()
