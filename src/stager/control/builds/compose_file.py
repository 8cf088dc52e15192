"""The services of a commit's Compose file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stager.domain.application import Application
from stager.domain.errors import Fault
from stager.domain.service import Stack
from stager.project.compose import Options, Reading, read
from stager.project.explanation import Explanation
from stager.project.tree import Tree

Urls = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]


async def read_services(tree: Path, application: Application, urls: Urls) -> tuple[Stack, tuple[str, ...]]:
    """Return the services, and what the reader found.

    The file may use the URLs of the services that it declares, so a file with several routed services is read
    a second time.

    Args:
        urls: returns the variables with the URLs of these services, which are given hosts.

    Raises:
        Fault: `compose-missing`: there is none; `compose-refused`: it can't be used.
    """
    declared = application.declared
    variables = {**application.variables, **await urls(())}
    options = Options(
        path=declared.compose or "", web=declared.main, profiles=declared.profiles, variables=variables
    )
    reading = await asyncio.to_thread(_read, tree, options)
    stack = reading.stack if reading is not None else None
    if stack is not None and (routed := _routed_beside_main(stack)):
        variables = {**variables, **await urls(routed)}
        reading = await asyncio.to_thread(_read, tree, replace(options, variables=variables))
    if reading is None:
        raise _missing(declared.compose or "compose.yaml")
    if reading.stack is None:
        raise _refused(reading)
    return replace(reading.stack, volumes=declared.volumes), Explanation.of_compose(reading).findings()


def _read(tree: Path, options: Options) -> Reading | None:
    return read(Tree(tree), options)


def _routed_beside_main(stack: Stack) -> list[str]:
    """The names of the services that get hosts of their own."""
    return [each.name for each in stack.services if each.port and each.name != stack.main]


def _missing(name: str) -> Fault:
    return Fault(
        f"The commit has no Compose file {name}.",
        hint="Commit it, or correct `compose` in `.stager.yml` or the configuration.",
        reason="compose-missing",
    )


def _refused(reading: Reading) -> Fault:
    count = len(reading.refusals)
    first = reading.refusals[0]
    others = "" if count == 1 else f" and {count - 1} more"
    return Fault(
        f"The Compose file can't run here: {first.place}: {first.text.rstrip('.')}{others}.",
        hint=first.hint or "`stager explain` lists all with their lines.",
        reason="compose-refused",
        detail="\n".join(Explanation.of_compose(reading).findings()),
    )
