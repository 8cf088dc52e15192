"""`stager whoami` and `stager token`: the signed-in user and API tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.lifetime import seconds
from stager.cli.client.output import echo, echo_json, echo_table, local_time, note

WHO = "/api/v1/whoami"
TOKENS = "/api/v1/tokens"

token = typer.Typer(no_args_is_help=True, help="Manage API tokens for CI and scripts.")


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command(cls=ClientCommand)(whoami)
    app.add_typer(token, name="token", help="Manage API tokens for CI and scripts.")


def whoami(endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Show the signed-in user and their roles.

    With --json: `name`, `authenticated_by`, `role`, and `apps` (the role for each application).
    """
    with server(endpoint) as api:
        found = api.connection.get(WHO)
    if as_json:
        echo_json(found)
        return
    echo(f"{found['name']} (by {found['authenticated_by']}), {found['role']}")
    for app, role in sorted(found["apps"].items()):
        echo(f"  {app}: {role}")


@token.command(cls=ClientCommand)
def create(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="A name for the token, such as `ci`.")],
    *,
    role: Annotated[
        str,
        typer.Option("--role", metavar="ROLE", help="The maximum role: viewer, developer or administrator."),
    ] = "developer",
    apps: Annotated[
        list[str] | None,
        typer.Option("--app", "-a", metavar="IMAGE", help="Only for this application. Repeatable."),
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="Lifetime, such as `12h` or `90d`.")
    ] = "30d",
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Create a token and print it. It can't be shown again.

    A token never has more permissions than you have at the time of its use. With --json: `token`, `id`,
    `label`, `role`, `apps` and times.

    \b
    Example:
      stager token create ci --role developer --app shop --expires 90d
    """
    body = {"label": label, "role": role, "apps": apps or None, "expires_in": seconds("--expires", expires)}
    with server(endpoint) as api:
        created = api.connection.post(TOKENS, body)
    if as_json:
        echo_json(created)
        return
    note(f"Valid until {local_time(created['expires_at'])}. It won't be shown again:")
    echo(created["token"])


@token.command("list", cls=ClientCommand)
def list_(endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """List your valid tokens, without their secrets. The oldest comes first."""
    with server(endpoint) as api:
        found = api.connection.get(TOKENS)
    if as_json:
        echo_json(found)
    elif not found:
        note("You have no tokens.")
    else:
        echo_table(
            ("ID", "LABEL", "ROLE", "IMAGES", "EXPIRES", "LAST USED"), [_row(token) for token in found]
        )


@token.command(cls=ClientCommand)
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID", help="The token's id, from `stager token list`.")],
    endpoint: EndpointOption = "",
) -> None:
    """Revoke a token immediately."""
    if not re.fullmatch(r"[\w-]{1,64}", which):
        raise ClientError(
            f'"{which}" isn\'t a token id.', hint="`stager token list` shows the ids.", code=Code.USAGE
        )
    with server(endpoint) as api:
        api.connection.delete(f"{TOKENS}/{which}")
    note("Revoked.")


def _row(data: Mapping[str, Any]) -> tuple[str, ...]:
    images = "all" if data["apps"] is None else ", ".join(data["apps"])
    used = local_time(data["used_at"]) if data["used_at"] else "never"
    return (data["id"], data["label"], data["role"], images, local_time(data["expires_at"]), used)
