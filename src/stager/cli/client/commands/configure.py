"""`stager configure`: the endpoints and how to sign in to each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from stager.cli.client import settings
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.auth.strategies import find
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption
from stager.cli.client.output import echo, echo_json, note, warn
from stager.cli.client.settings import ClientSettings, checked_url


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(configure)


def configure(
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="A setting; `KEY=` removes it.", show_default=False),
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
        note(f"Saved to {path}.")
    if as_json:
        echo_json({"default": known.default, "endpoints": _typed(known)})
    elif not changes:
        _show(known)


def _changed(known: ClientSettings, endpoint: str, changes: list[str]) -> ClientSettings:
    if "://" in endpoint:
        raise ClientError(
            "--endpoint must be a name here, not a URL.",
            hint=f"Set the URL with endpoint={endpoint}",
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
        warn("http isn't encrypted, so others on the network can read your credentials.")
    if values.get("verify_ssl") == "false":
        warn("verify_ssl=false accepts any certificate. SSL_CERT_FILE is safer.")


def _typed(known: ClientSettings) -> dict[str, dict[str, object]]:
    return {
        name: {key: value != "false" if key == "verify_ssl" else value for key, value in keys.items()}
        for name, keys in known.endpoints.items()
    }


def _show(known: ClientSettings) -> None:
    if not known.endpoints:
        note("No endpoint is configured. Run: stager configure endpoint=https://your-stager-host")
    for line in _lines(known):
        echo(line)
    if os.environ.get("STAGER_ENDPOINT"):
        note(f"STAGER_ENDPOINT={os.environ['STAGER_ENDPOINT']} overrides the default endpoint.")


def _lines(known: ClientSettings) -> Iterator[str]:
    for name, keys in sorted(known.endpoints.items()):
        yield f"{name}{' (default)' if name == known.default else ''}:"
        yield from (f"  {key}={value}" for key, value in sorted(keys.items()))
