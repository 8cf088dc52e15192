"""The images that tests run, made without a registry by the same script that the demo uses."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Literal

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "base-image.sh"


@functools.cache
def base_image(kind: Literal["python", "static"]) -> str:
    """The reference of a base image, which is made first if it isn't there.

    Args:
        kind: `python` has Python, git and bash; `static` has busybox alone.

    Raises:
        AssertionError: it can't be made; with what the script said.
    """
    made = subprocess.run([SCRIPT, kind], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return f"stager-base/{kind}:1"
