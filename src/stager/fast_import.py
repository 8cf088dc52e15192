"""Imports modules quickly: without garbage collection, and in a thread while the event loop runs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
    import asyncio  # noqa: PLC0415 (not for the commands that have no event loop)

    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_INTERVAL))
    try:
        with without_collection():
            return await asyncio.to_thread(import_module, name)
    finally:
        sys.setswitchinterval(before)


@contextmanager
def without_collection() -> Iterator[None]:
    """Disable garbage collection, which takes a tenth of an import's time and finds nothing. What was
    imported is excluded from later collections."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
