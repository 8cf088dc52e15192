"""The client's settings: its endpoints and how to sign in to each. They contain no secrets.

The settings are in `client.toml` in the client's folder (see `secure_files.folder`):

    default = "work"

    [endpoints.work]
    endpoint = "https://demo.example.org"
    auth_strategy = "Basic"
    username = "ann"
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import tomli_w

from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.auth import secure_files

FILE = "client.toml"
REQUEST_TIMEOUT = 60.0
"""Seconds until a request times out."""
DEFAULT_NAME = "default"
"""The name of an endpoint that was configured without a name."""
KEYS = {
    "endpoint": "The server's URL, such as `https://demo.example.org`.",
    "auth_strategy": "How to sign in: `Basic`, `Github`, `OpenIDConnect`, `Token`, or a custom strategy.",
    "verify_ssl": "`false` accepts any certificate. For tests only.",
    "default": "The name of the endpoint to use without `--endpoint`.",
}
SECRET_KEYS = ("password", "token", "github_token", "secret")
"""Rejected keys: their values would be in the shell's history and in a plain-text file."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server.

    Args:
        name: its name in the settings; the URL for an endpoint without a name.
        url: without a trailing slash.
        verify_ssl: whether the certificate is verified.
        more: the settings of its strategy, such as `username`.
    """

    name: str
    url: str
    auth_strategy: str = ""
    verify_ssl: bool = True
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, so an unencrypted connection is safe."""
        return is_local(urlsplit(self.url).hostname or "")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The content of the settings file.

    Args:
        endpoints: the settings of each endpoint by its name.
        default: the name of the default endpoint.
    """

    endpoints: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    default: str = DEFAULT_NAME

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint of this name or URL; a URL needn't be configured.

        Raises:
            ClientError: there is none.
        """
        wanted = name or self.default
        if "://" in wanted:
            url = checked_url(wanted)
            known = [n for n, keys in self.endpoints.items() if keys.get("endpoint") == url]
            return self._of(known[0]) if known else Endpoint(url, url)
        if not self.endpoints.get(wanted, {}).get("endpoint"):
            raise _unknown(wanted, self.endpoints, asked_for=bool(name))
        return self._of(wanted)

    def _of(self, name: str) -> Endpoint:
        keys = dict(self.endpoints[name])
        return Endpoint(
            name,
            checked_url(keys.pop("endpoint")),
            keys.pop("auth_strategy", ""),
            keys.pop("verify_ssl", "true") != "false",
            keys,
        )

    def with_key(self, name: str, key: str, value: str) -> ClientSettings:
        """Return settings with a changed key of an endpoint; an empty value removes the key."""
        keys = {k: v for k, v in self.endpoints.get(name, {}).items() if k != key}
        if value:
            keys[key] = value
        others = {n: k for n, k in self.endpoints.items() if n != name}
        return replace(self, endpoints={**others, name: keys} if keys else others)


def load(environ: Mapping[str, str] = os.environ) -> ClientSettings:
    """Read the settings file. Raises `ClientError` when it is invalid."""
    path = secure_files.folder(environ) / FILE
    try:
        found = tomllib.loads(secure_files.read(path))
        tables = {str(name): _as_text(table) for name, table in found.get("endpoints", {}).items()}
        return ClientSettings(tables, str(found.get("default", DEFAULT_NAME)))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise ClientError(
            f"Can't read {path}: {error}", hint="Correct or delete the file.", code=Code.USAGE
        ) from error
    except OSError as error:
        raise ClientError(f"Can't read {path}: {error.strerror}", code=Code.USAGE) from error


def save(settings: ClientSettings, environ: Mapping[str, str] = os.environ) -> Path:
    """Write the settings file. Returns its path. Raises `ClientError` when it can't be written."""
    path = secure_files.folder(environ) / FILE
    tables = {name: _values(keys) for name, keys in settings.endpoints.items()}
    document = {"default": settings.default, "endpoints": tables}
    try:
        secure_files.write(path, tomli_w.dumps(document))
    except OSError as error:
        raise ClientError(f"Can't write {path}: {error.strerror}") from error
    return path


def changed(
    settings: ClientSettings, name: str, changes: Iterable[tuple[str, str]], own_keys: Mapping[str, str]
) -> ClientSettings:
    """Return settings with changes to one endpoint.

    Args:
        changes: keys with their new values; an empty value removes the key.
        own_keys: the settings of the strategies, each with a description.

    Raises:
        ClientError: a key or value is invalid.
    """
    if not _NAME.fullmatch(name):
        raise _usage(f'"{name}" isn\'t a valid endpoint name.', "Use letters, digits, dots and dashes.")
    for key, value in changes:
        if key == "default":
            if value and value not in settings.endpoints:
                raise _unknown(value, settings.endpoints, asked_for=True)
            settings = replace(settings, default=value or DEFAULT_NAME)
        else:
            settings = settings.with_key(name, key, _checked(key, value, own_keys))
    return settings


def _checked(key: str, value: str, own_keys: Mapping[str, str]) -> str:
    if key in SECRET_KEYS:
        raise _usage(f"{key} is a secret, and secrets aren't stored in the settings.", "Use `stager login`.")
    known = [*KEYS, *own_keys]
    if key not in known:
        close = difflib.get_close_matches(key, known, 1)
        meant = f"Did you mean {close[0]}?" if close else f"The settings are {', '.join(known)}."
        raise ClientError(f'There is no setting "{key}".', hint=meant, code=Code.USAGE)
    if key == "endpoint" and value:
        return checked_url(value)
    if key == "verify_ssl" and value.lower() not in ("", "true", "false"):
        raise ClientError(f'verify_ssl must be true or false, not "{value}".', code=Code.USAGE)
    return value.lower() if key == "verify_ssl" else value


def checked_url(text: str) -> str:
    """Validate and normalize the URL of a server.

    Raises:
        ClientError: it is invalid.
    """
    parts = _split(text)
    if parts.scheme not in ("http", "https"):
        raise ClientError(
            f'The endpoint "{text}" isn\'t a URL.', hint=f"Did you mean https://{text}?", code=Code.USAGE
        )
    if parts.username is not None or parts.password is not None:
        raise ClientError(
            "The endpoint contains credentials, which would be stored in plain text.",
            hint="Remove them and use `stager login`.",
            code=Code.USAGE,
        )
    if not parts.hostname or parts.query or parts.fragment:
        raise _usage(
            f'The endpoint "{text}" isn\'t the URL of a server.', "An example: https://demo.example.org."
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _usage(message: str, hint: str) -> ClientError:
    return ClientError(message, hint=hint, code=Code.USAGE)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ClientError(f"The endpoint isn't a URL: {error}.", code=Code.USAGE) from error
    return parts


def is_local(host: str) -> bool:
    """Whether a host is this machine: `localhost`, its subdomains (RFC 6761, 6.3) or a loopback address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _unknown(name: str, known: Iterable[str], *, asked_for: bool) -> ClientError:
    if not asked_for:
        return ClientError(
            "No endpoint is configured.",
            hint="Run `stager configure endpoint=https://your-stager-host`, or set STAGER_ENDPOINT.",
            code=Code.USAGE,
        )
    names = ", ".join(sorted(known)) or "none"
    return ClientError(
        f'There is no endpoint "{name}".', hint=f"The endpoints are: {names}.", code=Code.USAGE
    )


def _as_text(table: Mapping[str, object]) -> dict[str, str]:
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in table.items()
    }


def _values(keys: Mapping[str, str]) -> dict[str, object]:
    return {key: value == "true" if key == "verify_ssl" else value for key, value in keys.items()}
