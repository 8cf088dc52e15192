"""Help texts: they fit 80 columns, and aliases lead to the same command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from typer.core import TyperGroup
from typer.testing import CliRunner

from stager.cli.command_table import all_commands
from stager.cli.main import app
from stager.version import __version__

RUNNER = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})


def commands() -> Iterator[tuple[str, ...]]:
    yield ()
    for name, command in all_commands():
        yield (name,)
        if isinstance(command, TyperGroup):
            yield from ((name, below) for below in command.commands)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_fits_80_columns(command: tuple[str, ...], option: str) -> None:
    done = RUNNER.invoke(app, [*command, option], prog_name="stager")
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: stager {' '.join(command)}".rstrip())
    assert [line for line in done.output.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_usage_has_plain_names_of_arguments(command: tuple[str, ...]) -> None:
    usage, _, rest = RUNNER.invoke(app, [*command, "--help"]).output.partition("\n\n")
    assert "{" not in usage
    assert "<list[" not in rest.partition("Options:")[0]


@pytest.mark.parametrize("alias", ["ls", "ps"])
def test_an_alias_is_the_command(alias: str) -> None:
    assert RUNNER.invoke(app, [alias, "-h"]).output == RUNNER.invoke(app, ["list", "-h"]).output


def test_version_is_a_command_too() -> None:
    assert RUNNER.invoke(app, ["version"]).output == f"stager {__version__}\n"


def test_the_commands_are_in_groups() -> None:
    help_ = RUNNER.invoke(app, ["--help"]).output
    assert (
        help_.index("Previews:") < help_.index("  list, ls, ps ") < help_.index("Server (on this machine):")
    )
