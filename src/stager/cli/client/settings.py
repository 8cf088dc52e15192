"""The client's own settings: which servers there are, and how one signs in there. No secrets.

They lie in `client.toml` in the client's folder (see `private.folder`):

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
FIRST = "default"
"""What an endpoint is called that nobody gave a name."""
KEYS = {
    "endpoint": "The server's URL, such as `https://demo.example.org`.",
    "auth_strategy": "How one signs in there: `Basic`, `Github`, `Token`, or one of your own.",
    "verify_ssl": "`false` takes any certificate. For tests alone.",
    "default": "The name of the endpoint that is meant when none is named.",
}
NEVER = ("password", "token", "github_token", "secret")
"""Keys that would have a secret lie around in the shell's history and in a plain file."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server, as the client knows it.

    Args:
        name: what people call it.
        url: without a slash at its end.
        verify_ssl: whether its certificate must be one that we trust.
        more: the keys of its strategy, such as `username`.
    """

    name: str
    url: str
    auth_strategy: str = ""
    verify_ssl: bool = True
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, so that nobody else hears what is said."""
        return is_local(urlsplit(self.url).hostname or "")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What is in the file.

    Args:
        endpoints: the keys of each by its name.
        default: the name of the one that is meant unless another is named.
    """

    endpoints: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    default: str = FIRST

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of this name; or, when it is a URL, the one that has it or one without a name.

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
        """The same with another value for one endpoint's key; an empty one removes it."""
        keys = {k: v for k, v in self.endpoints.get(name, {}).items() if k != key}
        if value:
            keys[key] = value
        others = {n: k for n, k in self.endpoints.items() if n != name}
        return replace(self, endpoints={**others, name: keys} if keys else others)


def load(environ: Mapping[str, str] = os.environ) -> ClientSettings:
    """What is in the file. Raises `ClientError` when it isn't what it should be."""
    path = secure_files.folder(environ) / FILE
    try:
        found = tomllib.loads(secure_files.read(path))
        tables = {str(name): _texts(table) for name, table in found.get("endpoints", {}).items()}
        return ClientSettings(tables, str(found.get("default", FIRST)))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise ClientError(
            f"{path} can't be read: {error}", hint="Correct or remove it.", code=Code.USAGE
        ) from error
    except OSError as error:
        raise ClientError(f"{path} can't be read: {error.strerror}", code=Code.USAGE) from error


def save(settings: ClientSettings, environ: Mapping[str, str] = os.environ) -> Path:
    """Write the file. Returns its path. Raises `ClientError` when that isn't allowed."""
    path = secure_files.folder(environ) / FILE
    tables = {name: _values(keys) for name, keys in settings.endpoints.items()}
    document = {"default": settings.default, "endpoints": tables}
    try:
        secure_files.write(path, tomli_w.dumps(document))
    except OSError as error:
        raise ClientError(f"{path} can't be written: {error.strerror}") from error
    return path


def changed(
    settings: ClientSettings, name: str, changes: Iterable[tuple[str, str]], own_keys: Mapping[str, str]
) -> ClientSettings:
    """The settings with these changes to one endpoint.

    Args:
        changes: keys with their new values; an empty one removes the key.
        own_keys: those that the strategies have, each with a sentence.

    Raises:
        ClientError: a key or value that makes no sense; nothing has changed then.
    """
    if not _NAME.fullmatch(name):
        raise _usage(f'"{name}" can\'t be the name of an endpoint.', "Letters, digits, dots and dashes.")
    for key, value in changes:
        if key == "default":
            if value and value not in settings.endpoints:
                raise _unknown(value, settings.endpoints, asked_for=True)
            settings = replace(settings, default=value or FIRST)
        else:
            settings = settings.with_key(name, key, _checked(key, value, own_keys))
    return settings


def _checked(key: str, value: str, own_keys: Mapping[str, str]) -> str:
    if key in NEVER:
        raise _usage(f"{key} is a secret; no settings are for that.", "`stager login` keeps it safe.")
    known = [*KEYS, *own_keys]
    if key not in known:
        close = difflib.get_close_matches(key, known, 1)
        meant = f"Did you mean {close[0]}?" if close else f"There are {', '.join(known)}."
        raise ClientError(f"There is no setting {key}.", hint=meant, code=Code.USAGE)
    if key == "endpoint" and value:
        return checked_url(value)
    if key == "verify_ssl" and value.lower() not in ("", "true", "false"):
        raise ClientError(f'verify_ssl should be true or false, not "{value}".', code=Code.USAGE)
    return value.lower() if key == "verify_ssl" else value


def checked_url(text: str) -> str:
    """The URL of a server, in one form.

    Raises:
        ClientError: it isn't one.
    """
    parts = _split(text)
    if parts.scheme not in ("http", "https"):
        raise ClientError(
            f'The endpoint "{text}" isn\'t a URL.', hint=f"Did you mean https://{text}?", code=Code.USAGE
        )
    if parts.username is not None or parts.password is not None:
        raise ClientError(
            "The endpoint has credentials in it, which would lie around in plain text.",
            hint="Leave them out; `stager login` keeps them safe.",
            code=Code.USAGE,
        )
    if not parts.hostname or parts.query or parts.fragment:
        raise _usage(f"The endpoint \"{text}\" isn't a server's.", "Such as https://demo.example.org.")
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
    """Whether a host is this machine: `localhost`, names below it (RFC 6761, 6.3) and loopback addresses."""
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
    return ClientError(f'There is no endpoint "{name}".', hint=f"There are: {names}.", code=Code.USAGE)


def _texts(table: Mapping[str, object]) -> dict[str, str]:
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in table.items()
    }


def _values(keys: Mapping[str, str]) -> dict[str, object]:
    return {key: value == "true" if key == "verify_ssl" else value for key, value in keys.items()}
