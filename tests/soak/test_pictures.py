"""Fifty identical pushes of a page with a clock, an animation and web fonts: no picture differs."""

from __future__ import annotations

import os

import pytest

from tests.integration.test_pictured_pulls import MakePull
from tests.integration.test_pictured_pulls import browser as browser  # noqa: PLC0414 (a fixture)
from tests.integration.test_pictured_pulls import make_pull as make_pull  # noqa: PLC0414 (a fixture)

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get("STAGER_SOAK"), reason="takes many minutes: scripts/soak runs it"),
]

PUSHES = 50


def test_no_picture_of_fifty_differs(make_pull: MakePull) -> None:
    pull = make_pull()
    pull.open()
    shares = []
    for _ in range(PUSHES):
        shares += [each["changed"] for each in pull.pictured()["pictures"]]
        pull.push()
    assert shares == [0.0] * (2 * PUSHES)
