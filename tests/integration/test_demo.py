"""The README's first command: from nothing to live previews of branches that are pushed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.unit.front.harness import free_port

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_checks_itself_and_leaves_nothing() -> None:
    port = free_port()
    done = subprocess.run(
        [ROOT / "scripts" / "demo", "--once", "--port", str(port)],
        capture_output=True, text=True, check=False, timeout=280,
        env=os.environ | {"STAGER_HELPER": "off"},  # it would guard the previews of other tests as well
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"http://winter.localhost:{port}" in done.stdout
    assert not (ROOT / ".stager" / "demo").exists()
