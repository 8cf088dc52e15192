"""What the shell offers after Tab: names from the settings and from the server. Any failure offers
nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from stager.cli.client import settings

PATIENCE = 2.0
"""Seconds; whoever presses Tab waits for no longer."""


def endpoints(incomplete: str) -> list[str]:
    """The names of the endpoints."""
    try:
        return [name for name in settings.load().endpoints if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 (a broken completion would break the prompt that one types at)
        return []


def images(ctx: Any, incomplete: str) -> list[str]:
    """The applications of which there are previews."""
    return sorted({app for app, _ in _known(ctx) if app.startswith(incomplete)})


def previews(ctx: Any, incomplete: str) -> list[str]:
    """Applications for a first word, the names of an application's previews for a second."""
    before = ctx.params.get("which") or ctx.params.get("image") or ()
    words = [before] if isinstance(before, str) else list(before)
    known = _known(ctx)
    if words:
        return sorted({name for app, name in known if app == words[0] and name.startswith(incomplete)})
    return sorted({word for pair in known for word in pair if word.startswith(incomplete)})


def _known(ctx: Any) -> list[tuple[str, str]]:
    """Application and name of each preview, asked without asking anybody."""
    return list(_asked(ctx.params.get("endpoint") or os.environ.get("STAGER_ENDPOINT", "")))


def _asked(endpoint: str) -> Iterator[tuple[str, str]]:
    # `command` has the options that are completed here.
    from stager.cli.client.command import server  # noqa: PLC0415

    try:
        with server(endpoint, PATIENCE) as api:
            for preview in api.previews():
                yield preview.app, preview.name
    except BaseException:  # noqa: BLE001 (as above; a prompt that nobody can answer ends in SystemExit)
        return
