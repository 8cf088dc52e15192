"""Tab completion: names from the settings and from the server. Errors yield no suggestions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from stager.cli.client import settings

TIMEOUT = 2.0
"""Seconds until a request for completion times out."""


def endpoints(incomplete: str) -> list[str]:
    """Suggest the names of endpoints."""
    try:
        return [name for name in settings.load().endpoints if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 (an error message would garble the prompt)
        return []


def images(ctx: Any, incomplete: str) -> list[str]:
    """Suggest the applications that have previews."""
    return sorted({app for app, _ in _known(ctx) if app.startswith(incomplete)})


def previews(ctx: Any, incomplete: str) -> list[str]:
    """Suggest applications and previews for the first argument, an application's previews for the second."""
    before = ctx.params.get("which") or ctx.params.get("image") or ()
    words = [before] if isinstance(before, str) else list(before)
    known = _known(ctx)
    if words:
        return sorted({name for app, name in known if app == words[0] and name.startswith(incomplete)})
    return sorted({word for pair in known for word in pair if word.startswith(incomplete)})


def _known(ctx: Any) -> list[tuple[str, str]]:
    """Return application and name of each preview."""
    return list(_previews(ctx.params.get("endpoint") or os.environ.get("STAGER_ENDPOINT", "")))


def _previews(endpoint: str) -> Iterator[tuple[str, str]]:
    # `command` imports this module for its options.
    from stager.cli.client.command import server  # noqa: PLC0415

    try:
        with server(endpoint, TIMEOUT) as api:
            for preview in api.previews():
                yield preview.app, preview.name
    except BaseException:  # noqa: BLE001 (as above; a prompt without a terminal raises SystemExit)
        return
