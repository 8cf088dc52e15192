"""The handler's record, in a complete Stager with fakes."""

from __future__ import annotations

import json
from pathlib import Path

from stager_hello import RecordOnLaunch

from stager.testing.harness import Harness


def test_each_launch_is_recorded(tmp_path: Path) -> None:
    record = tmp_path / "launches.jsonl"
    with Harness(RecordOnLaunch, handlers={"RecordOnLaunch": {"file": str(record)}}) as stager:
        stager.launch("my-branch")
        stager.launch("my-branch")
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(row["name"], row["refreshed"]) for row in rows] == [("my-branch", False), ("my-branch", True)]
