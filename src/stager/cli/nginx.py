"""`stager nginx`: the nginx configuration for nginx in front of Stager. Runs without a server."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stager.routers.nginx import http2_syntax, server_for_all
from stager.settings.loading.loader import find, load
from stager.settings.loading.problems import ConfigurationError
from stager.settings.model import Settings

nginx_commands = typer.Typer(no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(nginx_commands, name="nginx")


@nginx_commands.callback()
def nginx() -> None:
    """Generate the nginx configuration."""


@nginx_commands.command()
def config(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="The configuration file; by default $STAGER_CONFIG or ./config.yml."
        ),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            help="A value of nginx's `listen` directive. Repeatable. By default port 80; with a certificate"
            " 443 and, for redirects, 80."
        ),
    ] = None,
    certificate: Annotated[str, typer.Option(help="The wildcard certificate with its chain.")] = "",
    key: Annotated[str, typer.Option(help="The certificate's private key.")] = "",
) -> None:
    """Print an nginx server block that forwards all requests to Stager: its own pages and all previews.

    The block needn't change when previews come and go. Put it into a file such as
    /etc/nginx/sites-enabled/default.
    """
    if bool(certificate) != bool(key):
        _fail("Pass both --certificate and --key, or neither.")
    settings = settings_from(config)
    text = server_for_all(
        front=str(settings.listen.local),
        names=_names(settings),
        listen=listen or _everywhere(443 if certificate else 80),
        certificate=certificate,
        key=key,
        redirect=_everywhere(80) if certificate and not listen else [],
        http2=http2_syntax() if certificate else "none",
    )
    typer.echo(text, nl=False)


def settings_from(config: Path | None) -> Settings:
    """Load the configuration. Exits with its problems if it is invalid."""
    try:
        return load(find(config, os.environ, Path.cwd()), environ=os.environ).settings
    except ConfigurationError as error:
        _fail(str(error))


def _names(settings: Settings) -> list[str]:
    """Return the names of Stager and all previews; none when the domain isn't known yet."""
    if not settings.domain:
        return []
    home, previews = (name.partition(":")[0] for name in (settings.domain, settings.previews))
    return [home, f"*.{previews}"]


def _everywhere(port: int) -> list[str]:
    return [str(port), *([f"[::]:{port}"] if has_ipv6() else [])]


def has_ipv6() -> bool:
    """Whether this machine has IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
