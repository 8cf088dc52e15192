"""Finds the log events in the source, by reading its syntax trees, and compares them with their page.

`python -m tests.unit.docs.log_events` names the events that the page lacks and those that are gone, and
rewrites the columns *level* and *fields* of the others.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.docs.pages import DOCS, ROOT

SOURCE = ROOT / "src" / "stager"
PAGE = DOCS / "reference" / "log-events.md"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
"""The methods of a logger, with the level that the log shows."""
NOT_LOGGED = {"exc_info"}
"""Arguments that are no fields."""

_EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_ROW = re.compile(r"^\| `(?P<name>\w+)` \|(?P<levels>[^|]*)\|(?P<fields>[^|]*)\|(?P<meaning>.*)\|$")


@dataclass
class Event:
    """One log event.

    Args:
        levels: in the order of the source.
        fields: of all calls that log it, in the order of the source.
        is_open: whether its fields can't be read from the source (`**fields`).
    """

    levels: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    is_open: bool = False

    def add(self, level: str, fields: Iterable[str | None]) -> None:
        """Add one call. A field of None stands for `**`."""
        for name in fields:
            if name is None:
                self.is_open = True
            elif name not in {*self.fields, *NOT_LOGGED}:
                self.fields.append(name)
        if level not in self.levels:
            self.levels.append(level)

    def columns(self) -> tuple[str, str]:
        """What the page says of its levels and fields."""
        return ", ".join(self.levels), ", ".join(f"`{name}`" for name in self.fields)


class NotUnderstoodError(Exception):
    """An event has a name that isn't a literal word."""


def events(source: Path = SOURCE) -> dict[str, Event]:
    """All events that modules with a structlog logger log, by name."""
    found: dict[str, Event] = {}
    for path in sorted(source.rglob("*.py")):
        text = path.read_text("utf-8")
        if "structlog.get_logger" in text:
            for name, level, fields in _calls(path, ast.parse(text)):
                found.setdefault(name, Event()).add(level, fields)
    return found


def _calls(path: Path, tree: ast.Module) -> Iterator[tuple[str, str, list[str | None]]]:
    bound = dict(_bound(tree))
    loggers = {"log", "_log", "self._log", *bound}
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        if isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS:
            logger = ast.unparse(call.func.value)
            if logger in loggers:
                fields = [*bound.get(logger, []), *(keyword.arg for keyword in call.keywords)]
                for name in _names(path, call.args[0]):
                    yield name, LEVELS[call.func.attr], fields


def _bound(tree: ast.Module) -> Iterator[tuple[str, list[str | None]]]:
    """Loggers with fields of their own (`bound = log.bind(app=app)`), each with these."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(
                targets=[target], value=ast.Call(func=ast.Attribute(attr="bind"), keywords=keywords)
            ):
                yield ast.unparse(target), [keyword.arg for keyword in keywords]


def _names(path: Path, given: ast.expr) -> list[str]:
    match given:
        case ast.IfExp(body=body, orelse=orelse):
            return [*_names(path, body), *_names(path, orelse)]
        case ast.Constant(value=str(name)) if _EVENT.fullmatch(name):
            return [name]
    raise NotUnderstoodError(f"{path}:{given.lineno}: the event {ast.unparse(given)} isn't a literal word")


@dataclass(frozen=True)
class Row:
    """One row of the page."""

    levels: str
    fields: str
    meaning: str


def rows(page: Path = PAGE) -> dict[str, Row]:
    """The rows of the page by event. Raises ValueError for one that appears twice."""
    found: dict[str, Row] = {}
    for line in page.read_text("utf-8").splitlines():
        if match := _ROW.match(line):
            if match["name"] in found:
                raise ValueError(f"{match['name']} is listed twice")
            found[match["name"]] = Row(*(match[column].strip() for column in ("levels", "fields", "meaning")))
    return found


def _rewritten(line: str, logged: dict[str, Event]) -> str:
    match = _ROW.match(line)
    event = logged.get(match["name"]) if match else None
    if not match or event is None or event.is_open:
        return line
    levels, fields = event.columns()
    return f"| `{match['name']}` | {levels} | {fields} | {match['meaning'].strip()} |"


def main() -> None:
    """Print what is missing or gone, and rewrite the columns of the rest."""
    logged, listed = events(), rows()
    for name in sorted(logged.keys() - listed.keys()):
        print(f"missing: {name} ({', '.join(logged[name].levels)}): {', '.join(logged[name].fields)}")
    for name in sorted(listed.keys() - logged.keys()):
        print(f"gone: {name}")
    lines = PAGE.read_text("utf-8").splitlines()
    PAGE.write_text("".join(f"{_rewritten(line, logged)}\n" for line in lines), "utf-8")


if __name__ == "__main__":
    main()
