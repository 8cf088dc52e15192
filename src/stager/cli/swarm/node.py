"""`stager node`: makes this machine a node of a swarm."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from stager.cli.client.output import is_interactive
from stager.cli.swarm.engine import SOCKET, Engine
from stager.cli.swarm.invitation import Invitation, decode
from stager.cli.swarm.manager import fail
from stager.domain.errors import Refused, StagerError
from stager.systemd.machine import Machine
from stager.systemd.node import USER, Node
from stager.systemd.units import Program

node_commands = typer.Typer(no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(node_commands, name="node")


@node_commands.callback()
def node() -> None:
    """Make this machine a node of a swarm."""


@node_commands.command()
def join(
    docker_socket: Annotated[str, typer.Option("--docker-socket", help="Docker's socket.")] = SOCKET,
    without_systemd: Annotated[
        bool, typer.Option("--without-systemd", help="Don't start the root helper, but say how.")
    ] = False,
) -> None:
    """Join the swarm of an invitation, which is read from the terminal or standard input. Needs root.

    Creates the user `stager-node`, who may use Docker; lets Stager's SSH key forward sockets as this user,
    and nothing else; starts the root helper, which guards the ports of previews; and joins the swarm. The
    node takes previews once Stager has verified its firewall. Repeat it after an upgrade.

    \b
    Example:
      sudo stager node join < invitation
    """
    if os.geteuid() != 0:
        fail(f"This needs root. Run: sudo {Path(sys.prefix) / 'bin' / 'stager'} node join")
    machine = Machine(lambda sentence: typer.echo(f"· {sentence}"))
    try:
        invitation = decode(_read())
        program = Program(Path(sys.prefix) / "bin" / "python")
        prepared = Node(machine, program)
        prepared.let_in(invitation.key)
        if machine.has_systemd and not without_systemd:
            prepared.start()
        else:
            typer.echo(
                "Have the SSH server read its configuration again (`pkill -HUP -o -x sshd`), and start the "
                f"root helper:\n\n  {program.python} -I -m stager.helper --user {USER}\n"
            )
        join_swarm(Engine(docker_socket), invitation)
    except StagerError as error:
        fail(str(error))
    typer.echo("This machine is a node. `stager nodes` says when it takes previews.")


def _read() -> str:
    if is_interactive():
        return str(typer.prompt("Invitation", hide_input=True))
    return sys.stdin.readline()


def join_swarm(engine: Engine, invitation: Invitation) -> None:
    """Join the swarm unless this machine is in it.

    Raises:
        Refused: `node-elsewhere`: it is in another swarm.
        Fault: Docker refuses.
    """
    found = engine.call("GET", "/info")["Swarm"]
    if found["LocalNodeState"] in ("active", "pending"):
        managers = {manager["Addr"] for manager in found.get("RemoteManagers") or ()}
        if invitation.manager not in managers:
            raise Refused(
                "This machine is in another swarm.",
                hint="`docker swarm leave` ends that, with all that it runs here.",
                reason="node-elsewhere",
            )
        return
    body = {
        "ListenAddr": "0.0.0.0:2377",
        "RemoteAddrs": [invitation.manager],
        "JoinToken": invitation.token,
    }
    engine.call("POST", "/swarm/join", body)
