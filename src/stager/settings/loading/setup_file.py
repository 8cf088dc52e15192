"""The file with the applications that were added in the browser, `setup.yml` in the `state_dir`.

It is a part of the configuration: the loader merges it into `config.yml`, whose entries take precedence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from stager.settings.loading import document
from stager.settings.loading.document import Data
from stager.settings.loading.problems import ConfigurationError, Problem

FILE_NAME = "setup.yml"
KEYS = ("images", "local_forge")
"""What may be added in the browser: entries of these mappings."""

HEADER = """\
# Applications that were added on Stager's page /setup/application. Stager merges them into config.yml, whose
# entries take precedence. To change one, move it to config.yml.
"""

Entries = Mapping[str, Mapping[str, Data]]
"""The entries by key of the configuration."""


def read(path: Path) -> Entries:
    """Return what the file has; nothing where it doesn't exist.

    Raises:
        ConfigurationError: it can't be read, or has something else.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), [Problem("", f"can't be read: {error}")]) from error
    data = document.read(text, str(path)) or {}
    if not isinstance(data, dict) or not all(isinstance(entries, dict) for entries in data.values()):
        raise ConfigurationError(str(path), [Problem("", "should be a mapping of mappings")])
    unknown = data.keys() - set(KEYS)
    if unknown:
        found = [Problem(key, "can't be set here; move it to config.yml") for key in sorted(unknown)]
        raise ConfigurationError(str(path), found)
    return {key: entries for key, entries in data.items() if isinstance(entries, dict)}


def text_of(entries: Entries) -> str:
    """The file's content."""
    plain = {key: dict(below) for key, below in entries.items()}
    return HEADER + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def merged(written: Data, entries: Entries) -> Data:
    """Return the configuration with these entries added; those in `written` take precedence."""
    if not entries or not (written is None or isinstance(written, dict)):
        return written
    whole = dict(written or {})
    for key, below in entries.items():
        own = whole.get(key)
        if own is None or isinstance(own, dict):
            whole[key] = {**below, **(own or {})}
    return whole


def applications(written: Data, entries: Entries) -> frozenset[str]:
    """The applications whose entry is in the file and not in `written`."""
    own = written.get("images") if isinstance(written, dict) else None
    return frozenset(entries.get("images", {}).keys() - (own.keys() if isinstance(own, dict) else set()))


def conflicts(written: Data, entries: Entries, path: Path) -> Iterator[Problem]:
    """Yield a warning for each entry that both files have, or that the configuration's form excludes."""
    for key, below in entries.items():
        own = written.get(key) if isinstance(written, dict) else None
        if own is not None and not isinstance(own, dict):
            yield Problem(key, f"`{key}` replaces the entries in {path}, which were added in the browser.")
            continue
        for name in below.keys() & (own or {}).keys():
            where = f"{key}.{name}"
            yield Problem(
                where,
                f"`{where}` is also in {path}, where it was added in the browser. config.yml takes"
                " precedence; remove the other one.",
            )
