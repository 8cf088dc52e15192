"""`stager swarm`: makes this machine the manager of a swarm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stager.cli.server import ConfigOption
from stager.cli.swarm.engine import SOCKET, Engine
from stager.cli.swarm.invitation import Invitation
from stager.domain.errors import Fault, StagerError
from stager.settings.loading.loader import find, state_dir_of
from stager.settings.loading.problems import ConfigurationError
from stager.state import StateDirectory

PORT = 2377
"""Swarm's port for joining and management."""

swarm_commands = typer.Typer(no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(swarm_commands, name="swarm")


@swarm_commands.callback()
def swarm() -> None:
    """Let previews run on several machines."""


@swarm_commands.command()
def init(
    address: Annotated[
        str,
        typer.Option(
            "--advertise-addr", help="This machine's address for the nodes; Docker's choice if empty."
        ),
    ] = "",
    docker_socket: Annotated[str, typer.Option("--docker-socket", help="Docker's socket.")] = SOCKET,
    config: ConfigOption = None,
) -> None:
    """Make this machine the manager of a swarm, and print an invitation for nodes.

    Run it as Stager's user. It starts a swarm unless Docker is in one, and creates an SSH key that may only
    forward sockets. Repeat it to print the invitation again. The invitation is a secret: with it, any machine
    that reaches this one can join. `docker swarm join-token --rotate worker` makes earlier ones invalid.

    \b
    Example:
      stager swarm init --advertise-addr 10.0.0.1
    """
    try:
        state = StateDirectory(state_dir_of(find(config, os.environ, Path.cwd()), environ=os.environ))
        state.prepare()
        invitation = invite(Engine(docker_socket), state, address)
    except (StagerError, ConfigurationError) as error:
        fail(str(error))
    typer.echo("This machine is a manager. On each other machine, run", err=True)
    typer.echo("\n  sudo stager node join\n\nand paste this line, which is a secret:\n", err=True)
    typer.echo(invitation.encode())


def invite(engine: Engine, state: StateDirectory, address: str) -> Invitation:
    """Start the swarm and create the key unless they exist, and make an invitation.

    Raises:
        Fault: Docker or `ssh-keygen` refuses.
    """
    if engine.call("GET", "/info")["Swarm"]["LocalNodeState"] != "active":
        body = {"ListenAddr": f"0.0.0.0:{PORT}", **({"AdvertiseAddr": address} if address else {})}
        engine.call("POST", "/swarm/init", body)
    found = engine.call("GET", "/info")["Swarm"]
    token = engine.call("GET", "/swarm")["JoinTokens"]["Worker"]
    return Invitation(f"{found['NodeAddr']}:{PORT}", token, make_key(state))


def make_key(state: StateDirectory) -> str:
    """Create Stager's SSH key unless it exists; returns the public part.

    Raises:
        Fault: `ssh-missing`.
    """
    key = state.path / "ssh" / "id_ed25519"
    key.parent.mkdir(mode=0o700, exist_ok=True)
    if not key.exists():
        comment = f"stager-{state.installation}"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key)]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (fixed)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Fault(
                "ssh-keygen failed, so Stager has no key to reach nodes with.",
                hint="Install OpenSSH's client: apt-get install openssh-client.",
                reason="ssh-missing",
            ) from error
    return Path(f"{key}.pub").read_text().strip()


def fail(sentence: str) -> NoReturn:
    """Print the error, and exit."""
    print(f"stager: {sentence}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(1)
