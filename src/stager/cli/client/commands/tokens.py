"""`stager whoami` and `stager token`: who one is there, and tokens for automation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.commands.previews import when
from stager.cli.client.output import note, say, say_json, say_table

WHO = "/api/v1/whoami"
TOKENS = "/api/v1/tokens"
SECONDS = {"m": 60, "h": 3_600, "d": 86_400}

token = typer.Typer(no_args_is_help=True, help="Manage API tokens for CI and scripts.")


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(cls=ClientCommand)(whoami)
    app.add_typer(token, name="token", help="Manage API tokens for CI and scripts.")


def whoami(endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Show the signed-in user and their roles.

    With --json: `name`, `by` (the authentication method), `role`, and `apps` (the role for each application).
    """
    with server(endpoint) as api:
        found = api.connection.get(WHO)
    if as_json:
        say_json(found)
        return
    say(f"{found['name']} (by {found['by']}), {found['role']}")
    for app, role in sorted(found["apps"].items()):
        say(f"  {app}: {role}")


@token.command(cls=ClientCommand)
def create(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What to call it, such as `ci`.")],
    *,
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="The most that it lets anybody do.")
    ] = "developer",
    apps: Annotated[
        list[str] | None,
        typer.Option("--app", "-a", metavar="IMAGE", help="Good for this one only; may be repeated."),
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long it is good for: `12h`, `90d`.")
    ] = "30d",
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Create a token and print it. It can't be shown again.

    A token never has more permissions than you have at the time of its use. With --json: `token`, `id`,
    `label`, `role`, `apps` and times.
    """
    body = {"label": label, "role": role, "apps": apps or None, "expires_in": _seconds(expires)}
    with server(endpoint) as api:
        made = api.connection.post(TOKENS, body)
    if as_json:
        say_json(made)
        return
    note(f"Good until {when(made['expires_at'])}. This is the only time that it is shown:")
    say(made["token"])


@token.command("list", cls=ClientCommand)
def list_(endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """List your valid tokens, without their secrets. The oldest comes first."""
    with server(endpoint) as api:
        found = api.connection.get(TOKENS)
    if as_json:
        say_json(found)
    elif not found:
        note("There are none.")
    else:
        say_table(("ID", "LABEL", "ROLE", "IMAGES", "EXPIRES", "LAST USED"), [_row(each) for each in found])


@token.command(cls=ClientCommand)
def revoke(
    which: Annotated[
        str, typer.Argument(metavar="ID", help="The token's id, as `stager token list` has it.")
    ],
    endpoint: EndpointOption = "",
) -> None:
    """Revoke a token immediately."""
    if not re.fullmatch(r"[\w-]{1,64}", which):
        raise ClientError(
            f'"{which}" is no token\'s id.', hint="`stager token list` has them.", code=Code.USAGE
        )
    with server(endpoint) as api:
        api.connection.delete(f"{TOKENS}/{which}")
    note("It is good for nothing any more.")


def _row(told: Mapping[str, Any]) -> tuple[str, ...]:
    images = "all" if told["apps"] is None else ", ".join(told["apps"])
    used = when(told["used_at"]) if told["used_at"] else "never"
    return (told["id"], told["label"], told["role"], images, when(told["expires_at"]), used)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,4})([mhd])", text)
    if found is None:
        raise ClientError(f'--expires should be a time such as 12h or 90d, not "{text}".', code=Code.USAGE)
    return int(found[1]) * SECONDS[found[2]]
