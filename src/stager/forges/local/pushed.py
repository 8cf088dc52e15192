"""What the hook does after a push: it tells Stager of each branch, and whoever pushed what came of it.

`hook` has it run as a program. It never fails: the push has happened, and what isn't told is found by the
next resync.
"""

from __future__ import annotations

import asyncio
import http.client
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from stager.domain.errors import StagerError
from stager.forges.local import messages
from stager.forges.local.register import BRANCHES, Entry
from stager.forges.local.repository import LocalRepository

PATIENCE = 10.0
"""Seconds until whoever pushes has waited long enough, GitHub's own patience with a webhook."""

PATH = "/webhooks/local"
LONGEST_ANSWER = 2000
MOST_WAITED_FOR = 3
"""Branches in one push, of which each preview's URL is waited for; with more, none."""

OPENED, SYNCHRONIZE, REOPENED, CLOSED = "opened", "synchronize", "reopened", "closed"
WORDS = {OPENED: "opened", SYNCHRONIZE: "updated", REOPENED: "reopened", CLOSED: "closed"}
"""Of `domain.events.ChangeAction`, which takes longer to load than whoever pushes should wait."""

Say = Callable[[str], None]


def pushed(folder: Path, lines: Iterable[str], say: Say) -> None:
    """Tell Stager of a push.

    Args:
        folder: the repository's.
        lines: what git gives a post-receive hook: old id, new id and ref (githooks(5)).
        say: hears each line that whoever pushed is to read.
    """
    repository = LocalRepository(folder)
    deadline = time.monotonic() + PATIENCE
    try:
        before = {ref: set(old) == {"0"} for old, _, ref in map(str.split, lines) if ref.startswith(BRANCHES)}
        register = asyncio.run(repository.changes())
    except (StagerError, OSError, ValueError) as error:
        say(f"stager: this push isn't known to Stager yet: {error}")
        return
    found = ((register.by_branch.get(ref.removeprefix(BRANCHES)), is_new) for ref, is_new in before.items())
    happened = [(entry, _action(entry, is_new)) for entry, is_new in found if entry is not None]
    for number, (entry, action) in enumerate(happened):
        if time.monotonic() > deadline:
            say(f"stager: Stager finds the other {len(happened) - number} changes by itself.")
            return
        waits = len(happened) <= MOST_WAITED_FOR
        say(f"stager: {_told(repository, entry, action, deadline=deadline, waits=waits)}")


def _told(repository: LocalRepository, entry: Entry, action: str, *, deadline: float, waits: bool) -> str:
    message = messages.write(repository.known.get("name", ""), action, entry)
    try:
        return _post(repository, message, deadline, waits=waits)
    except (OSError, http.client.HTTPException, ValueError):
        what = "its preview goes" if action == CLOSED else "its preview comes"
        return f"{WORDS[action]} change {entry.number}; {what} as soon as Stager runs"


def _action(entry: Entry, is_new: bool) -> str:
    if not entry.is_open:
        return CLOSED
    if not is_new:
        return SYNCHRONIZE
    return OPENED if entry.updated_at == entry.created_at else REOPENED


def _post(repository: LocalRepository, body: bytes, deadline: float, *, waits: bool) -> str:
    """Stager's answer to the message."""
    facts = repository.known
    server = urlsplit(facts.get("server", ""))
    if not server.hostname:
        raise OSError("Stager has never run for this repository")
    headers = {
        "Content-Type": "application/json",
        messages.REPOSITORY: facts.get("name", ""),
        messages.DELIVERY: secrets.token_hex(16),
        messages.SIGNATURE: messages.signature(repository.secret, body),
    }
    if not waits:
        headers["Prefer"] = "respond-async"  # RFC 7240
    connection = http.client.HTTPConnection(
        server.hostname, server.port, timeout=max(0.1, deadline - time.monotonic())
    )
    try:
        connection.request("POST", PATH, body, headers)
        answer = connection.getresponse()
        text = answer.read(LONGEST_ANSWER).decode(errors="replace")
    finally:
        connection.close()
    return "".join(c if c.isprintable() else " " for c in text).strip()


if __name__ == "__main__":
    pushed(Path.cwd(), sys.stdin, lambda line: print(line, flush=True))  # noqa: T201 (git shows it)
