"""`stager doctor` where only the client is installed; otherwise see `stager.cli.doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from stager.cli.client.api.errors import ClientError
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.output import echo, echo_json, note

DOCTOR = "/api/v1/doctor"
MARKS = {"ok": "✓", "warning": "!", "error": "✗"}
ERROR = "error"


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(doctor)


def doctor(endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Check Docker, disk, ports, DNS and GitHub. The server runs the checks; you must be an administrator.

    The exit code is 1 when a check fails. With --json: a list of objects with `subject`, `verdict` (`ok`,
    `warning` or `error`), `message` and `hint`.
    """
    report(findings_of(endpoint), as_json=as_json)


def findings_of(endpoint: str) -> Sequence[Mapping[str, Any]]:
    """Have the server run its checks, and return the findings."""
    with server(endpoint) as api:
        found: list[Mapping[str, Any]] = api.connection.get(DOCTOR)
        return found


def report(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Write the findings. Raises `ClientError` when a check failed."""
    if as_json:
        echo_json(list(found))
    else:
        for finding in found:
            _write(finding)
    failed = sum(finding["verdict"] == ERROR for finding in found)
    if failed:
        checks = "1 check" if failed == 1 else f"{failed} checks"
        raise ClientError(f"{checks} failed.", hint="" if as_json else "See the hints above.")
    if not as_json:
        note("No check failed.")


def _write(finding: Mapping[str, Any]) -> None:
    echo(f"{MARKS.get(str(finding['verdict']), '?')} {finding['subject']}: {finding['message']}")
    if finding["hint"]:
        echo(f"    {finding['hint']}")
