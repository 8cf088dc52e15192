"""Runs commands on the server's machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What came of a command.

    Args:
        exit_code: 128 and the signal's number if a signal ended it; None if it took too long.
        output: the beginning of its standard output, at most one byte more than asked for.
        errors: the end of its standard error.
    """

    exit_code: int | None
    output: bytes = b""
    errors: str = ""


class ServerCommands(Protocol):
    """Runs commands as Stager's own user."""

    async def run(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        *,
        folder: str,
        timeout: float,
        max_output: int,
    ) -> CommandResult:
        """Run a command without a shell, and wait for its end. All its processes end with it: also when it
        takes too long, when this call is cancelled, and when Stager is killed.

        Args:
            command: a program, looked for in `PATH` unless it has a slash, and its arguments.
            variables: its whole environment, apart from `PATH`.
            folder: the working directory.
            timeout: seconds.
            max_output: bytes of its standard output that are kept.
        """
