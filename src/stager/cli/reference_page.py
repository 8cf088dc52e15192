"""Makes the reference page of the command line out of the commands themselves.

`python -m stager.cli.reference_page > docs/reference/cli.md`; a test holds the page to it.
"""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from collections.abc import Iterator

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from stager.cli.client.api.errors import Code
from stager.cli.client.command import ClientCommand
from stager.cli.command_table import all_commands

BEGINNING = """\
# Command line

The command is `stager`; `python -m stager` is the same. `stager --version` says which one, `stager COMMAND
--help` what it takes. This page is made from the commands: `python -m stager.cli.reference_page`.

`stager --install-completion` has bash, zsh or fish complete commands, options, and the names of applications
and previews, which are asked of the server; `--show-completion` prints what that installs.

The commands come in two kinds. Those that talk to a server run on anybody's machine, and need `pip install
stager` alone; [Use the command line](../how-to/use-the-command-line.md) is about them. The others run on the
server's machine.
"""

TALKING = """\
They talk to the server that `stager configure` has named. `--endpoint`, or the environment variable
`STAGER_ENDPOINT`, names another, or has its URL.

Results are on standard output, everything else on standard error. With `--json`, standard output has one JSON
document: a preview, or a list of previews, as the [HTTP API](http-api.md) has them, unless the command says
otherwise; and an error is an object on standard error, `{"error": {"message", "hint", "reason", "code",
"lines"}}`. `NO_COLOR` is obeyed. Without a terminal, commands never ask questions.

| exit code | what it means |
|---|---|
"""

SERVING = """\
They find the configuration by `--config`, then the environment variable `STAGER_CONFIG`, then `config.yml` in
the current folder. Without any, they use the defaults. `stop`, `status` and `build-log` read only
`state_dir`: variables that the rest refers to needn't be set for them. Exit code 1 means that it failed, 2
that the command line is invalid.
"""

REST = {
    "stager up": "[Preview a folder](../how-to/preview-a-folder.md)",
    "stager service install": "[Run it as a service](../how-to/run-as-a-service.md)",
    "stager service uninstall": "[Uninstall](../how-to/uninstall.md)",
    "stager forge init": "[Previews of a local repository](../how-to/local-forge.md)",
    "stager nginx config": "[nginx and HTTPS](../how-to/nginx-and-https.md)",
    "stager haproxy config": "[HAProxy](../how-to/haproxy.md)",
}
"""The pages that have more about a command."""


def page() -> str:
    """The whole page."""
    found = (_below(f"stager {name}", command) for name, command in all_commands())
    commands = dict(itertools.chain.from_iterable(found))
    talking = {name: command for name, command in commands.items() if isinstance(command, ClientCommand)}
    codes = "".join(f"| {int(code)} | {code.meaning} |\n" for code in Code)
    serving = {name: command for name, command in commands.items() if name not in talking}
    parts = [
        BEGINNING,
        "# Commands that talk to a server\n\n" + TALKING + codes,
        *(_section(*item) for item in talking.items()),
        "# Commands on the server's machine\n\n" + SERVING,
        *(_section(*item) for item in serving.items()),
    ]
    return "\n".join(parts)


def _below(name: str, command: object) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperGroup):
        for word, below in command.commands.items():
            yield from _below(f"{name} {word}", below)
    elif isinstance(command, TyperCommand):
        yield name, command


def _section(name: str, command: TyperCommand) -> str:
    arguments = [p for p in command.params if isinstance(p, TyperArgument)]
    options = [p for p in command.params if isinstance(p, TyperOption)]
    usage = " ".join([name, *(_word(argument) for argument in arguments)])
    about = inspect.cleandoc(command.help or "").replace("\f", "")
    lines = [f"## `{name}`", "", f"`{usage}`", "", about]
    if name in REST:
        lines += ["", f"{REST[name]} has the rest."]
    rows = [f"| `{_cell(_word(a))}` | {_cell(a.help)} |" for a in arguments if a.help]
    rows += [f"| {_spelled(option)} | {_cell(_about(option))} |" for option in options]
    if rows:
        lines += ["", "| argument or option | what it does |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _word(argument: TyperArgument) -> str:
    return argument.metavar or argument.name.upper() if argument.name else ""


def _spelled(option: TyperOption) -> str:
    """`--endpoint`, `-e` NAME."""
    spelled = ", ".join(f"`{word}`" for word in [*option.opts, *option.secondary_opts])
    takes = "" if option.is_flag else f" {option.metavar or ''}".rstrip().replace("|", " or ")
    return spelled + takes


def _about(option: TyperOption) -> str:
    about = option.help or ""
    default = option.default
    if option.is_flag or default in (None, "", ()) or callable(default):
        return about
    return (
        f"{about} {default:g} unless given."
        if isinstance(default, float)
        else f"{about} {default} unless given."
    )


def _cell(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").replace("|", "\\|").strip()


if __name__ == "__main__":
    sys.stdout.write(page())
