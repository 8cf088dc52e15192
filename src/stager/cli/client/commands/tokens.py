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

token = typer.Typer(no_args_is_help=True, help="Tokens for automation: in CI, or in a script.")


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(cls=ClientCommand)(whoami)
    app.add_typer(token, name="token", help="Tokens for automation: in CI, or in a script.")


def whoami(endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Say who the server takes you for, and what you may do there.

    With --json: `name`, `by` (how it knows), `role` and `apps`, the role for each application.
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
    """Make a token, and print it. Nobody can look it up afterwards.

    It never lets anybody do more than you may yourself at that time. With --json: the token in `token`,
    beside its `id`, `label`, `role`, `apps` and times.
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
    """List your tokens that are good still, oldest first; not the tokens themselves."""
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
    """Take a token back, at once."""
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
