"""Parses the output of `docker buildx build --progress=rawjson` into a log, and finds the failed step.

It prints one JSON object after another, each over several lines, and between them plain lines of its own.
An object has any of `vertexes` (steps), `statuses` (of what a step transfers), `logs` (what a step's command
printed, in base64) and `warnings`: BuildKit's `client.SolveStatus`,
https://pkg.go.dev/github.com/moby/buildkit/client#SolveStatus.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from stager.domain.text import as_on_screen
from stager.ports.builder import Say

LINE_LIMIT = 2_000
"""Maximum characters of a log line."""
OBJECT_LIMIT = 4 << 20
"""Maximum characters of an object. BuildKit cuts a step's output at 2 MiB, and sends it in pieces."""
ERROR_LIMIT = 8_000
"""Maximum characters of a step's error. It quotes the step's command, which can be long."""
LAST_LINES = 30
"""Log lines of a failure."""

_CANCELLED = re.compile(r"context canceled|code = Canceled")
"""A step that ended because another failed."""
_STEP = re.compile(r"\[(?:(?P<stage>[^\]]*?) )?(?P<number>\d+/\d+)\] (?P<instruction>.*)", re.DOTALL)
_EXIT_CODE = re.compile(r"exit code: (\d+)")


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a build: an instruction of the Dockerfile, or an internal step of BuildKit.

    Args:
        name: as BuildKit has it, such as `[build 3/5] RUN npm ci`.
        error: BuildKit's error; empty for success.
    """

    name: str
    error: str = ""

    @property
    def stage(self) -> str:
        """The stage's name; empty for a single stage."""
        found = _STEP.fullmatch(self.name)
        return (found["stage"] or "") if found else ""

    @property
    def number(self) -> str:
        """Such as `3/5`; empty for internal steps."""
        found = _STEP.fullmatch(self.name)
        return found["number"] if found else ""

    @property
    def instruction(self) -> str:
        """What it does, such as `RUN npm ci`."""
        found = _STEP.fullmatch(self.name)
        return found["instruction"] if found else self.name

    @property
    def exit_code(self) -> int | None:
        """The exit code of its command; None for other failures."""
        found = _EXIT_CODE.search(self.error)
        return int(found[1]) if found else None

    def __str__(self) -> str:
        if not self.number:
            return self.name
        of = f" of stage {self.stage}" if self.stage else ""
        return f"step {self.number}{of}: {shortened(self.instruction)}"


class Objects:
    """Splits the output, which arrives in arbitrary pieces."""

    def __init__(self) -> None:
        self._rest = ""
        self._decoder = json.JSONDecoder()

    def feed(self, text: str, *, last: bool = False) -> Iterator[dict[str, Any] | str]:
        """The complete objects and plain lines so far.

        Args:
            last: whether nothing will follow: then whatever is left is a line.
        """
        self._rest = (self._rest + text).lstrip()
        while self._rest:
            taken: dict[str, Any] | str | None = self._object()
            if taken is None:
                taken = self._line(last=last)
            if taken is None:
                return
            yield taken
            self._rest = self._rest.lstrip()

    def _object(self) -> dict[str, Any] | None:
        if not self._rest.startswith("{"):
            return None
        try:
            found, end = self._decoder.raw_decode(self._rest)
        except ValueError:
            return None
        self._rest = self._rest[end:]
        return dict(found)

    def _line(self, *, last: bool) -> str | None:
        if self._rest.startswith("{") and not last and len(self._rest) < OBJECT_LIMIT:
            return None  # an object of which the end is still to come
        line, end, rest = self._rest.partition("\n")
        if not end and not last:
            return None
        self._rest = rest
        return line.rstrip()


@dataclass(slots=True)
class _Vertex:
    number: int
    name: str
    began: bool = False
    ended: bool = False
    pieces: dict[int, str] = field(default_factory=dict)
    """Unfinished lines of its command, by stream."""


class Progress:
    """The progress of a build.

    Args:
        say: called with each log line.
        mask: hides secrets; called before lines are cut, so that no part of a secret remains.

    Attributes:
        failed: the step that failed first; None while none has.
        complaint: what was said beside the steps, such as that the Dockerfile can't be read.
    """

    def __init__(self, say: Say, mask: Callable[[str], str] = str) -> None:
        self.failed: Step | None = None
        self.complaint = ""
        self._say = say
        self._mask = mask
        self._objects = Objects()
        self._vertices: dict[str, _Vertex] = {}
        self._finished: set[str] = set()
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def last_lines(self) -> str:
        """The last lines of the log."""
        return "\n".join(self._last)

    @property
    def current(self) -> Step | None:
        """The last step that is still running."""
        open_ones = [v for v in self._vertices.values() if v.began and not v.ended]
        return Step(self._mask(open_ones[-1].name)) if open_ones else None

    def feed(self, text: str, *, last: bool = False) -> None:
        """Process the next piece of the output.

        Args:
            last: whether it is the last one.
        """
        for taken in self._objects.feed(text, last=last):
            if isinstance(taken, str):
                self._plain(taken)
            else:
                self._status(taken)

    def _plain(self, line: str) -> None:
        self._tell(line)
        if line.startswith("ERROR: ") or not self.complaint:
            self.complaint = _both_ends(self._mask(line.removeprefix("ERROR: ")))

    def _status(self, status: dict[str, Any]) -> None:
        for vertex in status.get("vertexes") or ():
            self._begin(vertex)
        for transfer in status.get("statuses") or ():
            self._transfer(transfer)
        for entry in status.get("logs") or ():
            self._output(entry)
        for warning in status.get("warnings") or ():
            self._tell(f"WARNING: {_decoded(warning.get('short', ''))}")
        for vertex in status.get("vertexes") or ():
            self._end(vertex)

    def _begin(self, facts: dict[str, Any]) -> None:
        vertex = self._vertex(facts["digest"], facts.get("name", ""))
        if facts.get("started") and not vertex.began:
            vertex.began = True
            self._tell(f"#{vertex.number} {vertex.name}")

    def _end(self, facts: dict[str, Any]) -> None:
        vertex = self._vertices[facts["digest"]]
        error = facts.get("error", "")
        if vertex.ended or not (facts.get("completed") or error):
            return
        vertex.ended = True
        for stream in list(vertex.pieces):
            self._lines(vertex, stream, "\n")
        if facts.get("cached"):
            self._tell(f"#{vertex.number} CACHED")
        if error and not _CANCELLED.search(error):
            self._tell(f"#{vertex.number} ERROR: {error}")
            self.failed = self.failed or Step(self._mask(vertex.name), _both_ends(self._mask(error)))

    def _transfer(self, facts: dict[str, Any]) -> None:
        """Log a transfer once, when it is finished."""
        mark = f"{facts.get('vertex')} {facts.get('id')}"
        if facts.get("completed") and mark not in self._finished:
            self._finished.add(mark)
            vertex = self._vertex(facts.get("vertex", ""), "")
            what = f"{facts.get('id', '')} {_size(facts.get('current', 0))}".strip()
            self._tell(f"#{vertex.number} {what} done")

    def _output(self, entry: dict[str, Any]) -> None:
        vertex = self._vertex(entry["vertex"], "")
        self._lines(vertex, entry.get("stream", 1), _decoded(entry.get("data", "")))

    def _lines(self, vertex: _Vertex, stream: int, text: str) -> None:
        *whole, rest = (vertex.pieces.get(stream, "") + text).split("\n")
        for line in whole:
            if shown := as_on_screen(line):
                self._tell(f"#{vertex.number} {shown}")
        vertex.pieces[stream] = rest if len(rest) <= LINE_LIMIT else self._mask(rest)[-LINE_LIMIT:]

    def _vertex(self, digest: str, name: str) -> _Vertex:
        vertex = self._vertices.setdefault(digest, _Vertex(len(self._vertices) + 1, ""))
        vertex.name = vertex.name or " ".join(name.split())
        return vertex

    def _tell(self, line: str) -> None:
        line = self._mask(line)[:LINE_LIMIT]
        self._last.append(line)
        self._say(line)


def shortened(text: str, length: int = 120) -> str:
    """The text on one line, cut with an ellipsis after this many characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _both_ends(text: str) -> str:
    """The text without its middle if it is too long: the cause of a failure is at its beginning or end."""
    half = ERROR_LIMIT // 2
    return text if len(text) <= ERROR_LIMIT else f"{text[:half]} … {text[-half:]}"


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return data


def _size(count: int) -> str:
    """A formatted number of bytes; empty for none."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if size else ""
        size /= 1000
    return f"{size:.3g} GB"
