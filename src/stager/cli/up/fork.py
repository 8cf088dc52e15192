"""Computes a value in a forked process, on another processor, while this one imports the server."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import typer

T = TypeVar("T")

SIGNALLED = 128
"""A shell's exit code of a command that a signal ended is this and the signal's number."""


class Fork(Generic[T]):
    """A forked process that computes a value, and ends.

    Args:
        process: its id.
        pipe: the descriptor from which the value is read.
    """

    def __init__(self, process: int, pipe: int) -> None:
        self._process = process
        self._pipe = pipe

    async def result(self) -> T:
        """Wait for the value.

        Raises:
            typer.Exit: the process ended without one; with its exit code. It has printed why.
        """
        data = await asyncio.to_thread(self._read)
        code = self._wait()  # it has closed the pipe, so it has ended
        if code != 0:
            raise typer.Exit(code if code > 0 else SIGNALLED - code)
        value: T = pickle.loads(data)  # noqa: S301 (written by this program)
        return value

    def end(self) -> None:
        """End the process if it still runs."""
        if self._process:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGTERM)

    def _read(self) -> bytes:
        with os.fdopen(self._pipe, "rb") as pipe:
            return pipe.read()

    def _wait(self) -> int:
        process, self._process = self._process, 0
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def forked(work: Callable[[], T]) -> Fork[T]:
    """Fork a process that computes `work()`. Call it before there are threads and event loops.

    Args:
        work: its result is pickled. It prints its errors, and raises `typer.Exit`.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        os.close(writing)
        return Fork(process, reading)
    os.close(reading)
    code = 1
    try:
        code = _send(work, writing)
    finally:
        os._exit(code)  # neither the parent's `finally` blocks nor its exit handlers


def _send(work: Callable[[], Any], pipe: int) -> int:
    """Write the result. Returns the exit code."""
    try:
        data = pickle.dumps(work())
    except typer.Exit as ending:
        return ending.exit_code
    except Exception:  # noqa: BLE001 (the process ends)
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    with os.fdopen(pipe, "wb") as file:
        file.write(data)
    return 0
