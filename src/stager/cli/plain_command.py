"""The base class of commands with arguments: its help has their plain names."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand


class PlainCommand(TyperCommand):
    """A command whose help has arguments as they are written, `[IMAGE] NAME`, without their Python types."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words after the command in its usage."""
        return ["[OPTIONS]", *(_written(argument) for argument in self._arguments(ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        rows = [(_written(argument), argument.help) for argument in self._arguments(ctx) if argument.help]
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)
        records = [p.get_help_record(ctx) for p in self.get_params(ctx) if not isinstance(p, TyperArgument)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in records if record])

    def _arguments(self, ctx: Any) -> list[TyperArgument]:
        return [p for p in self.get_params(ctx) if isinstance(p, TyperArgument)]


def _written(argument: TyperArgument) -> str:
    return argument.metavar or str(argument.name).upper()
