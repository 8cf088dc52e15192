"""Describes base images that are on this machine."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

INSPECT_TIMEOUT = 10.0
"""Seconds that Docker may take to describe an image."""


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image on this machine.

    Args:
        command: its entrypoint and command.
        has_port: whether it exposes a port.
    """

    command: tuple[str, ...]
    has_port: bool


def inspect(image: str) -> BaseImage | None:
    """Describe a base image on this machine; None if it isn't there, or Docker doesn't answer."""
    command = ["docker", "image", "inspect", "--format", "{{json .Config}}", "--", image]
    try:
        done = subprocess.run(  # noqa: S603 (a fixed program)
            command, capture_output=True, text=True, check=False, timeout=INSPECT_TIMEOUT
        )  # fmt: skip
        config = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if not isinstance(config, dict):
        return None
    words = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    return BaseImage(words, bool(config.get("ExposedPorts")))
