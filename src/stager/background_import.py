"""Imports modules in a thread while the event loop runs."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from types import ModuleType

SWITCH_INTERVAL = 0.0005
"""Seconds that the importing thread keeps the interpreter while the event loop waits for it. With Python's
default, ten times as long, each of the event loop's steps would take that long."""


async def import_in_background(name: str) -> ModuleType:
    """Import a module without blocking the event loop for long.

    Args:
        name: absolute.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_INTERVAL))
    try:
        return await asyncio.to_thread(import_module, name)
    finally:
        sys.setswitchinterval(before)
