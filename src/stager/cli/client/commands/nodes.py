"""`stager nodes`: the machines that previews run on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.output import echo_json, echo_table, note
from stager.domain.text import binary_size

NODES = "/api/v1/nodes"

Node = Annotated[str, typer.Argument(metavar="NODE", help="The node: its name or id.")]

nodes = typer.Typer(no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(nodes, name="nodes")


@nodes.callback()
def callback() -> None:
    """List the machines of a swarm, and drain them."""


@nodes.command("list", cls=ClientCommand)
def list_nodes(endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """List the nodes with their load and state. You must be an administrator.

    RESERVED is what the limits of the previews on a node add up to.
    """
    with server(endpoint) as api:
        found = api.connection.get(NODES)
    if as_json:
        echo_json(found)
        return
    columns = ("NODE", "ADDRESS", "STATE", "PREVIEWS", "RESERVED", "MEMORY", "PROBLEM")
    echo_table(columns, [_row(each) for each in found])


@nodes.command(cls=ClientCommand)
def drain(node: Node, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Move the previews of a node elsewhere, one after another. You must be an administrator.

    Each is deployed again: its new instance serves on another node before the old one is removed. The node
    takes no more previews until `stager nodes activate`. Previews with volumes stay, because their data does.

    \b
    Example:
      stager nodes drain node-2
    """
    with server(endpoint) as api:
        found = api.connection.post(f"{NODES}/{quote(node, safe='')}/drain")
    if as_json:
        echo_json(found)
        return
    moving = len(found["previews"]) - len(found["staying"])
    note(f"{found['name']} takes no more previews; {moving} will be moved. See `stager nodes list`.")
    for name in found["staying"]:
        note(f"{name} stays, because its volumes are on this node.")


@nodes.command(cls=ClientCommand)
def activate(node: Node, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Let a node take previews again. You must be an administrator.

    \b
    Example:
      stager nodes activate node-2
    """
    with server(endpoint) as api:
        found = api.connection.post(f"{NODES}/{quote(node, safe='')}/activate")
    if as_json:
        echo_json(found)
        return
    note(f"{found['name']} takes previews again once its firewall is verified.")


def _row(node: Mapping[str, Any]) -> tuple[str, ...]:
    name = f"{node['name']} (manager)" if node["is_manager"] else str(node["name"])
    sizes = binary_size(int(node["reserved"])), binary_size(int(node["memory"]))
    facts = str(node["address"]), str(node["state"]), str(len(node["previews"]))
    return name, *facts, *sizes, str(node["problem"])
