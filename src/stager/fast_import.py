"""Imports modules quickly: without garbage collection, without what isn't needed, and in a thread while the
event loop runs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module

SWITCH_INTERVAL = 0.0005
"""Seconds that the importing thread keeps the interpreter while the event loop waits for it. With Python's
default, ten times as long, each of the event loop's steps would take that long."""


async def import_in_background(*names: str) -> None:
    """Import modules, one after the other, without blocking the event loop for long.

    Args:
        names: absolute.
    """
    import asyncio  # noqa: PLC0415 (not for the commands that have no event loop)

    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_INTERVAL))
    try:
        with without_collection():
            await asyncio.to_thread(_import, names)
    finally:
        sys.setswitchinterval(before)


def _import(names: Iterable[str]) -> None:
    for name in names:
        import_module(name)


@contextmanager
def absent(name: str) -> Iterator[None]:
    """Import, within the block, as if the package `name` weren't installed, for a library that does without
    it. No effect if it is imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # documented: an import of it fails
    try:
        yield
    finally:
        sys.modules.pop(name, None)


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
