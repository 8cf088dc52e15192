"""`stager doctor` where the server is installed: looks at this machine, whether a server runs or not, or has
another one looked at."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from stager.checks.deliveries import SetAsideDeliveries
from stager.cli.client import settings
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption
from stager.cli.client.commands.doctor import asked, tell
from stager.cli.server import ConfigOption, readiness
from stager.control.diagnostics import examine
from stager.domain.errors import StagerError
from stager.front.process.client import FrontClient
from stager.installation_checks import checks_of
from stager.ports.diagnostics import Finding, Verdict
from stager.settings.loading.loader import Loaded, find, load
from stager.settings.loading.problems import ConfigurationError
from stager.state import StateDirectory

FRONT_PARTS = frozenset({"front", "routes"})
"""What the control plane calls the parts of which nothing but it knows what is the matter."""


HANDLERS = "handlers"
"""The part that reports handlers whose last call failed. They don't stop Stager, so that is a warning."""


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command(cls=ClientCommand)(doctor)


def doctor(
    config: ConfigOption = None,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Look whether all that Stager needs is as it should be: Docker, the disk, ports, names, GitHub, ...

    Where a configuration is found, or no endpoint is configured, it looks at this machine, also while Stager
    doesn't run. Otherwise a server looks at its own machine, which takes an administrator.

    Exits with 1 when something is wrong. With --json, a list of objects with `subject`, `verdict` (`fine`,
    `warning` or `wrong`), `message` and `hint`.
    """
    tell(asked(endpoint) if _is_elsewhere(config, endpoint) else _looked(config), as_json=as_json)


def _is_elsewhere(config: Path | None, endpoint: str) -> bool:
    """Whether a server is meant that may be anywhere, and not this machine's."""
    if config is not None or endpoint:
        return config is None
    known = settings.load()
    return known.default in known.endpoints and find(None, os.environ, Path.cwd()) is None


def _looked(config: Path | None) -> Sequence[Mapping[str, Any]]:
    """What is found here."""
    try:
        loaded = load(find(config, os.environ, Path.cwd()), environ=os.environ)
    except ConfigurationError as error:
        hint = "`stager config check` tells it, too."
        return [asdict(Finding("configuration", Verdict.WRONG, str(error).replace("\n", " "), hint))]
    return [asdict(finding) for finding in asyncio.run(_findings(loaded))]


async def _findings(loaded: Loaded) -> list[Finding]:
    state = StateDirectory(loaded.settings.state_dir)
    is_up = await _front_answers(state)
    checks = list(checks_of(loaded.settings, state, is_up=is_up))
    processes = [*_of_processes(state, is_up=is_up), *_as_it_says_itself(state)]
    seen = [_of_configuration(loaded), *processes, *await examine(checks)]
    return [*seen, *await _of_deliveries(state)] if _runs(state) else seen


async def _of_deliveries(state: StateDirectory) -> list[Finding]:
    """Those that are set aside, by the database of the server that runs."""
    # SQLAlchemy costs a third of a second, which `--help` can save.
    from stager.stores.sqlite.store import SqliteStore  # noqa: PLC0415

    store = SqliteStore(state.database)
    try:
        return await examine([SetAsideDeliveries(store)])
    finally:
        await store.close()


def _runs(state: StateDirectory) -> bool:
    return state.path.exists() and state.running() is not None


def _of_configuration(loaded: Loaded) -> Finding:
    name = loaded.path.name if loaded.path else "No config.yml here: the defaults"
    if loaded.warnings:
        hint = "`stager config check` lists them."
        return Finding(
            "configuration", Verdict.WARNING, f"{name}: warnings, {len(loaded.warnings)} in all.", hint
        )
    return Finding("configuration", Verdict.FINE, f"{name}: fine.")


def _of_processes(state: StateDirectory, *, is_up: bool) -> list[Finding]:
    process = state.running() if state.path.exists() else None
    if process and is_up:
        return [Finding("Stager", Verdict.FINE, f"It runs, as process {process}.")]
    if process or is_up:
        hint = (
            "It starts the front again by itself; its log says more."
            if process
            else "`stager serve` starts it."
        )
        what = "the front doesn't" if process else "only the front does: previews go on"
        return [Finding("Stager", Verdict.WRONG, f"Not all of it runs: {what}.", hint)]
    return [Finding("Stager", Verdict.WARNING, "It doesn't run.", "`stager serve` starts it.")]


def _as_it_says_itself(state: StateDirectory) -> list[Finding]:
    """What troubles the Stager that runs here, as far as it tells anybody."""
    answer = readiness(state) if state.path.exists() else None
    told = {**answer["troubles"], **answer.get("notices", {})} if answer else {}
    return [Finding(part, _verdict(part), sentence, _hint(part, state)) for part, sentence in told.items()]


def _verdict(part: str) -> Verdict:
    return Verdict.WARNING if part == HANDLERS else Verdict.WRONG


def _hint(part: str, state: StateDirectory) -> str:
    if part == HANDLERS:
        return f"Stager's log may be {state.log}."
    if part in FRONT_PARTS:
        return f"`df {state.front}` shows the free space; the front's log is {state.front / 'front.log'}."
    return f"The lines of its log with `action_failed` or `loop_failed` tell more; it may be {state.log}."


async def _front_answers(state: StateDirectory) -> bool:
    client = FrontClient(state.front)
    try:
        await client.connect()
    except StagerError:
        return False
    finally:
        await client.close()
    return True
