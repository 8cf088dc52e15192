"""Compose files in the shapes that real ones have, written for these tests, with what is read from them.

A case is a text file: options in YAML, files, each after a line `-- PATH --`, and after `-- expected --` what
is read from them. `python -m tests.unit.project.compose.cases` writes that again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from stager.domain.service import ServiceSpec, with_generated
from stager.project.compose import Options, Reading, read
from stager.project.tree import Tree

FOLDER = Path(__file__).parent / "cases"
EXPECTED = "expected"

_SECTION = re.compile(r"^-- (\S+) --\n", re.MULTILINE)


class Case:
    """One case.

    Args:
        path: its text file.
    """

    def __init__(self, path: Path) -> None:
        head, *parts = _SECTION.split(path.read_text())
        sections = dict(zip(parts[::2], parts[1::2], strict=True))
        self.path = path
        self.expected = sections.pop(EXPECTED, "")
        self.files = sections
        self.head = head
        self.options = options_of(yaml.safe_load(head) or {})

    def write(self, folder: Path) -> Tree:
        """Write the files to a folder."""
        return written(folder, self.files)

    def save(self, expected: str) -> None:
        """Replace what is expected."""
        parts = [f"-- {path} --\n{text}" for path, text in (*self.files.items(), (EXPECTED, expected))]
        self.path.write_text(self.head + "".join(parts))


def options_of(given: Mapping[str, Any]) -> Options:
    """Return the options of a mapping with lists."""
    return Options(**{**given, "profiles": frozenset(given.get("profiles", ()))})


def written(folder: Path, files: Mapping[str, str]) -> Tree:
    """Write files to a folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return Tree(folder)


CASES = {path.stem: Case(path) for path in sorted(FOLDER.glob("*.txt"))}


def shown(reading: Reading) -> str:
    """Return what was read as text in YAML."""
    data: dict[str, Any] = {"path": reading.path}
    if len(reading.files) > 1:
        data["files"] = list(reading.files)
    if reading.stack:
        data |= {
            "main": reading.stack.main,
            "services": {each.name: plain(each) for each in reading.stack.services},
        }
    for key in ("ignored", "guesses", "proposals", "refusals"):
        if found := [str(each) for each in getattr(reading, key)]:
            data[key] = found
    return yaml.safe_dump(data, sort_keys=False, width=110, allow_unicode=True)


def plain(service: ServiceSpec) -> dict[str, Any]:
    """Return a service's fields that aren't the default."""
    found: dict[str, Any] = _plain(service)
    del found["name"]
    return found


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        given = {each.name: getattr(value, each.name) for each in fields(value)}
        defaults = {
            each.name: each.default_factory() if each.default_factory is not MISSING else each.default
            for each in fields(value)
        }
        return {name: _plain(each) for name, each in given.items() if each != defaults[name]}
    if isinstance(value, str):
        return with_generated(str(value), "<generated {}>".format)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


if __name__ == "__main__":
    for case in CASES.values():
        with TemporaryDirectory() as temporary:
            found = read(case.write(Path(temporary)), case.options)
            assert found
            case.save(shown(found))
