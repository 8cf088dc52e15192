"""`stager doctor` where the server is installed: checks this machine, or has another server run its
checks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from stager.checks.deliveries import DeliveryCheck
from stager.checks.services import ServiceCheck, VolumeCheck
from stager.cli.client import settings
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption
from stager.cli.client.commands.doctor import findings_of, report
from stager.cli.server import ConfigOption, readiness
from stager.control.diagnostics import examine
from stager.domain.errors import StagerError
from stager.front.process.client import FrontClient
from stager.installation_checks import checks_for
from stager.ports.diagnostics import Finding, Verdict
from stager.settings.loading.loader import Loaded, find, load
from stager.settings.loading.problems import ConfigurationError
from stager.state import StateDirectory

FRONT_PARTS = frozenset({"front", "routes"})
"""The parts that only the control plane can check."""


HANDLERS = "handlers"
"""The part that reports handlers whose last call failed. They don't stop Stager, so that is a warning."""


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(doctor)


def doctor(
    config: ConfigOption = None,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check Docker, disk, ports, DNS and GitHub.

    Checks this machine when a configuration file is found or no endpoint is configured; the server needn't be
    running. Otherwise the endpoint's server runs the checks, for which you must be an administrator.

    The exit code is 1 when a check fails. With --json: a list of objects with `subject`, `verdict` (`ok`,
    `warning` or `error`), `message` and `hint`.
    """
    findings = findings_of(endpoint) if _is_remote(config, endpoint) else _local_findings(config)
    report(findings, as_json=as_json)


def _is_remote(config: Path | None, endpoint: str) -> bool:
    """Whether a server should run the checks, rather than this process."""
    if config is not None or endpoint:
        return config is None
    known = settings.load()
    return known.default in known.endpoints and find(None, os.environ, Path.cwd()) is None


def _local_findings(config: Path | None) -> Sequence[Mapping[str, Any]]:
    """Check this machine."""
    try:
        loaded = load(find(config, os.environ, Path.cwd()), environ=os.environ)
    except ConfigurationError as error:
        hint = "`stager config check` lists all problems."
        return [asdict(Finding("configuration", Verdict.ERROR, str(error).replace("\n", " "), hint))]
    return [asdict(finding) for finding in asyncio.run(_findings(loaded))]


async def _findings(loaded: Loaded) -> list[Finding]:
    state = StateDirectory(loaded.settings.state_dir)
    is_up = await _front_answers(state)
    checks = list(checks_for(loaded.settings, state, is_up=is_up))
    processes = [*_processes(state, is_up=is_up), *_reported(state)]
    seen = [_configuration(loaded), *processes, *await examine(checks)]
    return [*seen, *await _stored(state)] if _runs(state) else seen


async def _stored(state: StateDirectory) -> list[Finding]:
    """Check for webhook deliveries that were set aside and for failed services, in the database of the
    running server."""
    # SQLAlchemy costs a third of a second, which `--help` saves.
    from stager.stores.sqlite.store import SqliteStore  # noqa: PLC0415

    store = SqliteStore(state.database)
    try:
        return await examine([DeliveryCheck(store), ServiceCheck(store), VolumeCheck(store)])
    finally:
        await store.close()


def _runs(state: StateDirectory) -> bool:
    return state.path.exists() and state.running() is not None


def _configuration(loaded: Loaded) -> Finding:
    name = loaded.path.name if loaded.path else "no config.yml, defaults are used"
    if loaded.warnings:
        count = len(loaded.warnings)
        warnings = "1 warning" if count == 1 else f"{count} warnings"
        hint = "`stager config check` lists them."
        return Finding("configuration", Verdict.WARNING, f"{name}: {warnings}.", hint)
    return Finding("configuration", Verdict.OK, f"{name}: valid.")


def _processes(state: StateDirectory, *, is_up: bool) -> list[Finding]:
    process = state.running() if state.path.exists() else None
    if process and is_up:
        return [Finding("Stager", Verdict.OK, f"Running, process {process}.")]
    if process or is_up:
        hint = (
            "The control plane restarts the front. If that fails, see its log."
            if process
            else "Start the server: `stager serve`."
        )
        message = (
            "The front isn't running."
            if process
            else "The control plane isn't running. Running previews stay reachable through the front."
        )
        return [Finding("Stager", Verdict.ERROR, message, hint)]
    return [Finding("Stager", Verdict.WARNING, "Not running.", "Start the server: `stager serve`.")]


def _reported(state: StateDirectory) -> list[Finding]:
    """The problems and notices that the running server reports."""
    answer = readiness(state) if state.path.exists() else None
    reported = {**answer["problems"], **answer.get("notices", {})} if answer else {}
    return [
        Finding(part, _verdict(part), sentence, _hint(part, state)) for part, sentence in reported.items()
    ]


def _verdict(part: str) -> Verdict:
    return Verdict.WARNING if part == HANDLERS else Verdict.ERROR


def _hint(part: str, state: StateDirectory) -> str:
    if part == HANDLERS:
        return f"Stager's log may be {state.log}."
    if part in FRONT_PARTS:
        return f"See the front's log, {state.front / 'front.log'}, and the free space: `df {state.front}`."
    return f"See `action_failed` and `loop_failed` in the server's log ({state.log} with --detach)."


async def _front_answers(state: StateDirectory) -> bool:
    client = FrontClient(state.front)
    try:
        await client.connect()
    except StagerError:
        return False
    finally:
        await client.close()
    return True
