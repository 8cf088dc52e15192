"""Decides what is built and run, prints it, and commits the folder for the first time. Runs in a forked
process, which alone imports what reads the folder's files; see `session`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stager.cli.up.options import Options, Place
from stager.cli.up.prepared import Prepared
from stager.cli.up.terminal import StandardTerminal
from stager.cli.up.working_tree import WorkingTree, tracked_env_files

REPOSITORY = "files.git"
SECRETS_KEY = "generated-secrets.key"


@dataclass(frozen=True, slots=True)
class FirstCommit:
    """What is built and run, and the folder as it is committed.

    Args:
        commit: its id.
    """

    prepared: Prepared
    tree: WorkingTree
    commit: str


def commit_first(place: Place, options: Options, state: Path) -> FirstCommit:
    """Prepare and commit.

    Args:
        state: the folder of the session's files.

    Raises:
        Refused, Fault: see `preparation.prepare` and `WorkingTree.commit`.
    """
    return asyncio.run(_commit(place, options, state))


async def _commit(place: Place, options: Options, state: Path) -> FirstCommit:
    from stager.cli.up.preparation import prepare  # noqa: PLC0415 (not for the parent process)
    from stager.cli.up.variables import ENV_FILE  # noqa: PLC0415

    terminal, folder = StandardTerminal(), place.folder
    is_tracked = ENV_FILE in await tracked_env_files(folder)
    prepared = prepare(folder, state / SECRETS_KEY, options, terminal, is_env_tracked=is_tracked)
    for note in prepared.notes:
        terminal.say(note)
    tree = WorkingTree(folder, state / REPOSITORY, place.name, partial(Prepared.overlay, prepared, folder))
    await tree.begin()
    await tree.commit()
    return FirstCommit(prepared, tree, tree.head)
