"""`stager config`: checks and shows the configuration. Runs without a server."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from stager.ports.plugins import discover
from stager.settings.loading.loader import Loaded, find, load
from stager.settings.loading.problems import ConfigurationError
from stager.settings.schema import json_schema, repository_schema, to_yaml

config_commands = typer.Typer(no_args_is_help=True)

Config = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration file; by default $STAGER_CONFIG or ./config.yml."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]

NO_FILE = "No configuration file"


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(config_commands, name="config")


@config_commands.callback()
def config() -> None:
    """Check, show and describe the configuration."""


@config_commands.command()
def check(config: Config = None, as_json: Json = False) -> None:
    """Check the configuration and report all problems.

    The exit code is 1 when there are problems; warnings don't count.
    """
    loaded = _load(config, as_json=as_json)
    if as_json:
        _print_report(_name(loaded), warnings=loaded.warnings)
        return
    typer.echo(
        f"{_name(loaded)}: valid" if loaded.path else f"{NO_FILE}: Stager would start with the defaults."
    )
    for warning in loaded.warnings:
        typer.echo(f"  warning: {warning}")


@config_commands.command()
def show(config: Config = None, as_json: Json = False) -> None:
    """Print the effective settings, including defaults. Secrets are masked."""
    loaded = _load(config, as_json=as_json)
    if as_json:
        typer.echo(loaded.settings.model_dump_json(indent=2, exclude_none=True))
        return
    typer.echo(f"# {_name(loaded)}" if loaded.path else f"# {NO_FILE}; these are the defaults")
    typer.echo(to_yaml(loaded.settings), nl=False)


@config_commands.command()
def schema(
    repository: Annotated[
        bool, typer.Option("--repository", help="The schema of .stager.yml instead of config.yml.")
    ] = False,
) -> None:
    """Print the JSON Schema of the configuration for editors.

    An editor with a YAML language server completes and checks a file whose first line names the schema:

    \b
      stager config schema > config.schema.json
      # yaml-language-server: $schema=config.schema.json
    """
    if repository:
        typer.echo(json.dumps(repository_schema(), indent=2))
        return
    path = find(None, os.environ, Path.cwd())
    plugins = discover(path.absolute().parent if path else None)
    typer.echo(json.dumps(json_schema(plugins), indent=2))


def _load(config: Path | None, *, as_json: bool) -> Loaded:
    try:
        return load(find(config, os.environ, Path.cwd()), environ=os.environ)
    except ConfigurationError as error:
        _fail(error, as_json=as_json)


def _fail(error: ConfigurationError, *, as_json: bool) -> NoReturn:
    if as_json:
        _print_report(error.name, problems=[asdict(problem) for problem in error.problems])
    else:
        typer.echo(str(error), err=True)
    raise typer.Exit(1)


def _print_report(
    name: str, *, problems: list[dict[str, Any]] | None = None, warnings: tuple[str, ...] = ()
) -> None:
    report = {"file": name, "valid": not problems, "problems": problems or [], "warnings": warnings}
    typer.echo(json.dumps(report, indent=2))


def _name(loaded: Loaded) -> str:
    return loaded.path.name if loaded.path else ""
