"""The command `stager`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from stager.cli.command_table import COMMANDS, Entry, has_server, install_command, load
from stager.version import __version__

ALIASES = {alias: entry.name for entry in COMMANDS for alias in entry.aliases}


def _names(entry: Entry) -> str:
    return ", ".join((entry.name, *entry.aliases))


class _Placeholder(TyperCommand):
    """A command in the list whose module isn't imported yet."""

    def __init__(self, entry: Entry) -> None:
        is_available = has_server() or bool(entry.client_module)
        super().__init__(entry.name, short_help=entry.summary, hidden=not is_available)
        self.entry = entry


class LazyGroup(TyperGroup):
    """Lists the commands of `command_table` and imports a command's module when the command is used."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for entry in COMMANDS:
            self.add_command(_Placeholder(entry))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that `args` name, and import it."""
        name, command, rest = super().resolve_command(ctx, [ALIASES.get(args[0], args[0]), *args[1:]])
        return name, load(command.entry) if isinstance(command, _Placeholder) else command, rest

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write the commands, by section."""
        shown = [command for command in self._placeholders() if not command.hidden]
        width = max(len(_names(command.entry)) for command in shown)
        for section in dict.fromkeys(command.entry.section for command in shown):
            rows = [
                (_names(command.entry).ljust(width), command.entry.summary)
                for command in shown
                if command.entry.section == section
            ]
            with formatter.section(section):
                formatter.write_dl(rows)

    def _placeholders(self) -> list[_Placeholder]:
        return [command for command in self.commands.values() if isinstance(command, _Placeholder)]


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stager {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Run `stager COMMAND --help` for a command's options."
    + ("" if has_server() else f" `{install_command()}` adds the server's commands.")
)
def stager(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Preview environments for pull requests, each at its own URL."""


@app.command("version", hidden=True)
def _version_command() -> None:
    """Show the version and exit."""
    _version(True)


def main() -> None:
    """Run the command of the command line."""
    app()
