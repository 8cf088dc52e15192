"""`stager haproxy`: the HAProxy configuration for HAProxy in front of Stager. Runs without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stager.cli.nginx import has_ipv6, settings_from
from stager.routers.haproxy import Site, shipped_template

haproxy_commands = typer.Typer(no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(haproxy_commands, name="haproxy")


@haproxy_commands.callback()
def haproxy() -> None:
    """Generate the HAProxy configuration."""


@haproxy_commands.command()
def config(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="The configuration file; by default $STAGER_CONFIG or ./config.yml."
        ),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            help="An address of HAProxy's `bind`, or several with commas. By default port 80; with a"
            " certificate 443 and, for redirects, 80."
        ),
    ] = "",
    certificate: Annotated[
        str, typer.Option(help="A PEM file with the wildcard certificate, its chain and its private key.")
    ] = "",
) -> None:
    """Print an HAProxy configuration that forwards all requests to Stager: its own pages and all previews.

    It needn't change when previews come and go. Put it into a file such as /etc/haproxy/stager.cfg, which
    HAProxy reads after /etc/haproxy/haproxy.cfg. It needs HAProxy 2.6 or later.
    """
    settings = settings_from(config)
    bind = listen or _everywhere(443 if certificate else 80)
    site = Site(
        bind=f"{bind} ssl crt {certificate} alpn h2,http/1.1" if certificate else bind,
        front=str(settings.listen.local),
        redirect=_everywhere(80) if certificate and not listen else "",
    )
    typer.echo(shipped_template().render(site), nl=False)


def _everywhere(port: int) -> str:
    return f":::{port} v4v6" if has_ipv6() else f"*:{port}"
