"""`stager service`: runs Stager as a systemd service on this machine."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stager.cli import login_link
from stager.cli.control_socket import request
from stager.domain.errors import StagerError
from stager.settings.loading.loader import state_dir_of
from stager.settings.loading.problems import ConfigurationError
from stager.state import StateDirectory
from stager.systemd.machine import Machine
from stager.systemd.service import USER, Service, check_program
from stager.systemd.units import Program

CONFIG = Path("/etc/stager/config.yml")
PORTS = (80, 8000)
"""Where a new configuration lets Stager listen: the first free one. Only a service may use the first."""
START_SECONDS = 60.0

service_commands = typer.Typer(no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(service_commands, name="service")


@service_commands.callback()
def service() -> None:
    """Run Stager as a systemd service."""


@service_commands.command()
def install(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The configuration; created if it doesn't exist.")
    ] = CONFIG,
    without_systemd: Annotated[
        bool,
        typer.Option("--without-systemd", help="Create only the user, the folders and the configuration."),
    ] = False,
) -> None:
    """Install and start Stager's services. Needs root.

    Creates the user `stager`, its folders, and a configuration if there is none; writes the units of Stager
    and of its root helper, and starts them. Repeat it after an upgrade: nothing is asked, and only what
    differs is changed. Without systemd, it says how to start Stager.
    """
    _check_root("install")
    machine = Machine(_report)
    program = _program(config)
    with_systemd = machine.has_systemd and not without_systemd
    try:
        check_program(program)
        installed = Service(machine, program)
        installed.prepare(_free_port(PORTS if with_systemd else PORTS[1:]))
        if with_systemd:
            installed.install()
    except StagerError as error:
        _fail(str(error))
    if with_systemd:
        _wait(program)
    else:
        typer.echo(_start_instructions(program))


@service_commands.command()
def uninstall(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration.")] = CONFIG,
) -> None:
    """Stop Stager's services and remove their units. Needs root.

    Previews, the state folder, the configuration and the user stay; the page Uninstall has the commands that
    remove them.
    """
    _check_root("uninstall")
    try:
        Service(Machine(_report), _program(config)).uninstall()
    except StagerError as error:
        _fail(str(error))


def _program(config: Path) -> Program:
    return Program(Path(sys.prefix) / "bin" / "python", config.absolute())


def _wait(program: Program) -> None:
    """Wait until Stager answers, and print how to sign in."""
    try:
        state = StateDirectory(state_dir_of(program.config, environ=os.environ))
    except ConfigurationError as error:
        _fail(str(error))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(StagerError):
            request(state, "GET", "/readyz")
            _report("Stager is running")
            login_link.print_if_unused(state)
            return
        time.sleep(0.1)
    _fail(f"Stager didn't start within {START_SECONDS:g} s. See its log: journalctl -u stager -n 30 -o cat")


def _start_instructions(program: Program) -> str:
    return (
        "Start the root helper and Stager, and sign in by the link that the last command prints:\n\n"
        "  mkdir -p /run/stager\n"
        f"  setsid --fork {program.python} -I -m stager.helper --user {USER}\n"
        f"  runuser -u {USER} -- {program.command} serve --detach --config {program.config}"
    )


def _free_port(ports: tuple[int, ...]) -> int:
    for port in ports:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", port))  # noqa: S104 (as the configuration will)
            return port
    return ports[-1]


def _check_root(command: str) -> None:
    if os.geteuid() != 0:
        _fail(f"This needs root. Run: sudo {Path(sys.prefix) / 'bin' / 'stager'} service {command}")


def _report(sentence: str) -> None:
    typer.echo(f"· {sentence}")


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
