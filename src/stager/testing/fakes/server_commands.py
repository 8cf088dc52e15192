"""Fake commands of the server's machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stager.ports.server_commands import CommandResult


@dataclass(frozen=True, slots=True)
class FakeRun:
    """A command that was run.

    Args:
        variables: its environment.
    """

    command: tuple[str, ...]
    variables: Mapping[str, str]
    folder: str


@dataclass
class FakeServerCommands:
    """A `stager.ports.server_commands.ServerCommands` whose programs are functions.

    Args:
        programs: by name; an unknown one ends with 127.
        seconds: that each command takes.
        ran: the commands that were begun.
    """

    programs: dict[str, Callable[[FakeRun], CommandResult]] = field(default_factory=dict)
    seconds: float = 0.0
    ran: list[FakeRun] = field(default_factory=list)

    async def run(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        *,
        folder: str,
        timeout: float,
        max_output: int,
    ) -> CommandResult:
        """See `ServerCommands.run`."""
        run = FakeRun(tuple(command), dict(variables), folder)
        self.ran.append(run)
        await asyncio.sleep(min(self.seconds, timeout))
        if self.seconds > timeout:
            return CommandResult(None)
        program = self.programs.get(command[0])
        if program is None:
            return CommandResult(127, errors=f"{command[0]}: No such file or directory")
        result = program(run)
        return CommandResult(result.exit_code, result.output[: max_output + 1], result.errors)
