"""`stager doctor`, asked of a server. Where one is installed, `stager.cli.doctor` looks at its machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from stager.cli.client.api.errors import ClientError
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.output import note, say, say_json

DOCTOR = "/api/v1/doctor"
MARKS = {"fine": "✓", "warning": "!", "wrong": "✗"}
WRONG = "wrong"


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command(cls=ClientCommand)(doctor)


def doctor(endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Check Docker, disk, ports, DNS and GitHub. The server runs the checks; you must be an administrator.

    The exit code is 1 when a check fails. With --json: a list of objects with `subject`, `verdict` (`fine`,
    `warning` or `wrong`), `message` and `hint`.
    """
    tell(asked(endpoint), as_json=as_json)


def asked(endpoint: str) -> Sequence[Mapping[str, Any]]:
    """What the server found."""
    with server(endpoint) as api:
        found: list[Mapping[str, Any]] = api.connection.get(DOCTOR)
        return found


def tell(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Show all that was found. Raises `ClientError` when something is wrong."""
    if as_json:
        say_json(list(found))
    else:
        for finding in found:
            _say(finding)
    wrong = sum(finding["verdict"] == WRONG for finding in found)
    if wrong:
        things = "One thing is" if wrong == 1 else f"{wrong} things are"
        raise ClientError(f"{things} wrong.", hint="" if as_json else "What to do is said above.")
    if not as_json:
        note("Nothing is wrong.")


def _say(finding: Mapping[str, Any]) -> None:
    say(f"{MARKS.get(str(finding['verdict']), '?')} {finding['subject']}: {finding['message']}")
    if finding["hint"]:
        say(f"    {finding['hint']}")
