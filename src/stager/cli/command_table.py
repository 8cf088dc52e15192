"""All commands of `stager`, with the modules that implement them.

`stager --help` and tab completion need the names and one-line descriptions only. A command's module is
imported when the command runs or its own help is shown: the server's modules take most of a second of
processor time.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

from stager.fast_import import without_collection

PREVIEWS = "Previews"
ACCOUNT = "Connection and account"
SERVER = "Server (on this machine)"


@dataclass(frozen=True, slots=True)
class Entry:
    """A command in the list of commands.

    Args:
        module: has `mount(app)`, which adds the command to a Typer application.
        summary: the first sentence of the command's help.
        client_module: implements the command where the server isn't installed; empty: the command is
            unavailable.
        aliases: other names.
    """

    section: str
    name: str
    module: str
    summary: str
    client_module: str = ""
    aliases: tuple[str, ...] = ()


def _client(section: str, name: str, module: str, summary: str, *aliases: str) -> Entry:
    path = f"stager.cli.client.commands.{module}"
    return Entry(section, name, path, summary, client_module=path, aliases=aliases)


def _server(name: str, module: str, summary: str, *, client_module: str = "") -> Entry:
    return Entry(SERVER, name, f"stager.cli.{module}", summary, client_module)


COMMANDS = (
    _client(PREVIEWS, "launch", "launch", "Launch or update a preview and print its URL."),
    _client(PREVIEWS, "list", "previews", "List previews.", "ls", "ps"),
    _client(PREVIEWS, "show", "previews", "Show a preview's status, services and deployments."),
    _client(PREVIEWS, "open", "previews", "Open a preview in the browser."),
    _client(PREVIEWS, "logs", "logs", "Show the log of a preview or of its build."),
    _client(PREVIEWS, "exec", "exec_command", "Run a command or a shell in a preview."),
    _client(PREVIEWS, "why", "why", "Tell why a pull request or branch has no preview."),
    _client(PREVIEWS, "wait", "wait", "Wait until a preview is live."),
    _client(PREVIEWS, "share", "share", "Print a link to a private preview."),
    _client(PREVIEWS, "pictures", "pictures", "List the pictures of a preview's pages."),
    _client(PREVIEWS, "redeploy", "launch", "Redeploy a preview with its last parameters."),
    _client(PREVIEWS, "rollback", "launch", "Launch an earlier revision of a preview again."),
    _client(PREVIEWS, "sleep", "power", "Put a preview to sleep until the next visit."),
    _client(PREVIEWS, "wake", "power", "Wake a preview, and wait until it serves."),
    _client(PREVIEWS, "reset", "launch", "Replace a preview's data by the current snapshot."),
    _client(
        PREVIEWS,
        "pin",
        "launch",
        "Keep a preview: it never expires, and is never evicted in favour of another.",
    ),
    _client(PREVIEWS, "extend", "launch", "Count a preview as used now, so that it doesn't expire soon."),
    _client(PREVIEWS, "snapshot", "snapshots", "Manage the data that new previews start from."),
    _client(PREVIEWS, "approve", "launch", "Approve a commit of a pull request from a fork."),
    _client(PREVIEWS, "capacity", "capacity", "Show what previews use of the machine, and the queue."),
    _client(PREVIEWS, "kill", "launch", "Remove a preview."),
    _client(ACCOUNT, "configure", "configure", "Show or change the client's settings."),
    _client(ACCOUNT, "login", "login", "Sign in to a server."),
    _client(ACCOUNT, "logout", "login", "Sign out of a server."),
    _client(ACCOUNT, "whoami", "tokens", "Show the signed-in user and their roles."),
    _client(ACCOUNT, "token", "tokens", "Manage API tokens for CI and scripts."),
    _client(ACCOUNT, "gc", "gc", "Remove what nothing needs any more."),
    _client(ACCOUNT, "nodes", "nodes", "List the machines of a swarm, and drain them."),
    _client(ACCOUNT, "deliveries", "deliveries", "List webhook deliveries and their outcomes."),
    _server(
        "init",
        "init",
        "Write a repository's .stager.yml from what its files say.",
        client_module="stager.cli.init",
    ),
    _server("explain", "explain", "Explain what would run from a checkout, without running it."),
    _server("up", "up.command", "Preview a local folder and update it when files change."),
    _server("serve", "server", "Run the server."),
    _server("front", "server", "Run the front alone."),
    _server("stop", "server", "Stop the server."),
    _server("status", "server", "Show whether the server is running."),
    _server("service", "service", "Run Stager as a systemd service."),
    _server("data", "data", "Manage the pool for data of previews."),
    _server("swarm", "swarm.manager", "Let previews run on several machines."),
    _server("node", "swarm.node", "Make this machine a node of a swarm."),
    _server("login-link", "server", "Print a link that signs in an administrator."),
    _server(
        "doctor",
        "doctor",
        "Check Docker, disk, ports, DNS and GitHub.",
        client_module="stager.cli.client.commands.doctor",
    ),
    _server("config", "config", "Check, show and describe the configuration."),
    _server("plugins", "plugins", "List handlers and strategies."),
    _server("nginx", "nginx", "Generate the nginx configuration."),
    _server("haproxy", "haproxy", "Generate the HAProxy configuration."),
    _server("forge", "local_forge", "Manage Git repositories on this machine."),
    _server("build-log", "build_log", "Show a build log from the server's files."),
    _server("hash-password", "hash_password", "Hash a password for the configuration."),
)


@functools.cache
def has_server() -> bool:
    """Whether the server's libraries are installed: `pip install stager` alone is the client."""
    return all(importlib.util.find_spec(library) is not None for library in ("fastapi", "aiodocker"))


def install_command() -> str:
    """The command that adds the server to this installation."""
    with_pipx = "pipx" in Path(sys.prefix).parts  # https://pipx.pypa.io/stable/explanations/how-pipx-works/
    return f"{'pipx install --force' if with_pipx else 'pip install'} 'stager[server]'"


def load(entry: Entry) -> TyperCommand | TyperGroup:
    """Import a command's module and return the command.

    Raises:
        typer.Exit: the command needs the server, which isn't installed.
    """
    module = entry.module if has_server() else entry.client_module
    if not module:
        typer.echo(
            f"stager: `stager {entry.name}` needs the server, which isn't installed."
            f" Install it: {install_command()}",
            err=True,
        )
        raise typer.Exit(1)
    app = typer.Typer(rich_markup_mode=None)
    with without_collection():
        imported = importlib.import_module(module)
    imported.mount(app)
    command = typer.main.get_group(app).commands[entry.name]
    assert isinstance(command, TyperCommand | TyperGroup)  # noqa: S101 (Typer makes no others)
    return command


def all_commands() -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    """Import every command; yields names and commands."""
    for entry in COMMANDS:
        yield entry.name, load(entry)
