"""`stager configure`: which servers there are, and how one signs in there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from stager.cli.client import settings
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.auth.strategies import find
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption
from stager.cli.client.output import note, say, say_json, warn
from stager.cli.client.settings import ClientSettings, checked_url


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command(cls=ClientCommand)(configure)


def configure(
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="What to set; `KEY=` removes it.", show_default=False),
    ] = None,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show or change the client's settings.

    KEY=VALUE sets a value for an endpoint, KEY= removes it; without any, the settings are shown. The settings
    contain no secrets: `stager login` stores those.
    """
    known = settings.load()
    if changes:
        known = _changed(known, endpoint, changes)
        path = settings.save(known)
        note(f"Written to {path}.")
    if as_json:
        say_json({"default": known.default, "endpoints": _typed(known)})
    elif not changes:
        _show(known)


def _changed(known: ClientSettings, endpoint: str, changes: list[str]) -> ClientSettings:
    if "://" in endpoint:
        raise ClientError(
            "Here, --endpoint is the name of an endpoint.",
            hint=f"Its URL is a setting: endpoint={endpoint}",
            code=Code.USAGE,
        )
    pairs = [(key, value) for key, _, value in (change.partition("=") for change in changes)]
    strategies = [find(value) for key, value in pairs if key == "auth_strategy" and value]
    name = endpoint or known.default
    strategies.append(find(known.endpoints.get(name, {}).get("auth_strategy", "")))
    own_keys = {key: about for strategy in strategies for key, about in strategy.keys.items()}
    changed = settings.changed(known, name, pairs, own_keys)
    _warn_of(dict(pairs))
    return changed


def _warn_of(values: Mapping[str, str]) -> None:
    url = values.get("endpoint", "")
    if url.startswith("http:") and not settings.Endpoint("", checked_url(url)).is_local:
        warn("http isn't encrypted: whoever is on the way reads your credentials.")
    if values.get("verify_ssl") == "false":
        warn(
            "verify_ssl=false takes anybody's certificate. SSL_CERT_FILE can name your own authority instead."
        )


def _typed(known: ClientSettings) -> dict[str, dict[str, object]]:
    return {
        name: {key: value != "false" if key == "verify_ssl" else value for key, value in keys.items()}
        for name, keys in known.endpoints.items()
    }


def _show(known: ClientSettings) -> None:
    if not known.endpoints:
        note("Nothing is configured. Begin with: stager configure endpoint=https://your-stager-host")
    for line in _lines(known):
        say(line)
    if os.environ.get("STAGER_ENDPOINT"):
        note(f"STAGER_ENDPOINT={os.environ['STAGER_ENDPOINT']} goes before the default.")


def _lines(known: ClientSettings) -> Iterator[str]:
    for name, keys in sorted(known.endpoints.items()):
        yield f"{name}{' (default)' if name == known.default else ''}:"
        yield from (f"  {key}={value}" for key, value in sorted(keys.items()))
