"""Reads the output of containers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import aiodocker
import aiohttp

from stager.engines.docker.client import engine_errors, request
from stager.engines.docker.log_messages import Frames, Lines
from stager.ports.engine import LogPiece

UNREADABLE = 501
"""The status of Docker's answer when a container's log driver keeps nothing, such as `none`."""

LINE_LIMIT = 2_000
"""Maximum number of characters of a log line that are shown."""

EARLIER = timedelta(minutes=1)
"""Messages from this long before a position are read again. Docker stamps the lines of stdout and stderr
independently and writes them afterwards, and clocks are set back, so that times aren't always in order."""
KEPT = 500
"""Messages that are kept while a position is looked for."""
ALL_LINES = 5_000
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
COUNT = re.compile(r"[1-9][0-9]{0,8}")
WITHOUT_END = aiohttp.ClientTimeout(total=None)


async def last_lines(docker: aiodocker.Docker, container: str, lines: int) -> str:
    """See `ports.engine.Instances.logs`."""
    with engine_errors():
        try:
            pieces = await docker.containers.container(container).log(stdout=True, stderr=True, tail=lines)
        except aiodocker.DockerError as error:
            if error.status in (404, 409, UNREADABLE):
                return ""
            raise
    shown = (line.rstrip()[:LINE_LIMIT] for line in "".join(pieces).splitlines())
    return "\n".join(shown)


async def follow(
    docker: aiodocker.Docker, container: str, lines: int, after: str = ""
) -> AsyncIterator[LogPiece]:
    """See `ports.engine.Instances.follow`."""
    log = _Log(docker, container)
    with engine_errors():
        try:
            async for piece in log.resumed(after) if after else log.followed(lines):
                yield piece
        except aiodocker.DockerError as error:
            if error.status not in (404, 409, UNREADABLE):
                raise


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the output: after the message with this number among those with the same time.

    Args:
        time: Docker's time of the message. The pieces of a long line have the same.
        count: from 1; 0 if it is unknown.
    """

    time: str
    count: int

    def __str__(self) -> str:
        return f"{self.time}/{self.count}" if self.count else ""

    def moved(self, by: timedelta) -> str:
        """The time of the position, moved by whole seconds."""
        return (datetime.fromisoformat(self.time[:19]) + by).isoformat() + self.time[19:]

    @property
    def since(self) -> str:
        """The parameter `since` of a request for the messages from `EARLIER` on."""
        seconds = datetime.fromisoformat(self.time[:19]).replace(tzinfo=UTC) - EARLIER
        return f"{int(seconds.timestamp())}.{self.time[20:29]}"


def position_of(text: str) -> Position | None:
    """Read a position; None if it isn't one."""
    time, _, count = text.partition("/")
    if not TIME.fullmatch(time) or not COUNT.fullmatch(count):
        return None
    try:
        position = Position(time, int(count))
        return position if position.moved(EARLIER) and position.since else None
    except (ValueError, OverflowError):  # no such date
        return None


@dataclass(frozen=True, slots=True)
class _Message:
    """A line of the output, or a piece of a long one, and the position after it."""

    text: bytes
    position: Position


class _Counter:
    """Numbers the messages with the same time.

    Args:
        is_within: whether messages of the first one's time may be missing before it.
    """

    def __init__(self, *, is_within: bool) -> None:
        self._is_within = is_within
        self._last = Position("", 0)

    def message(self, time: str, text: bytes) -> _Message:
        """The next message."""
        if time == self._last.time:
            count = self._last.count + 1 if self._last.count else 0
        else:
            count = 0 if self._is_within and not self._last.time else 1
        self._last = Position(time, count)
        return _Message(text, self._last)


class _Log:
    """The output of one container."""

    def __init__(self, docker: aiodocker.Docker, container: str) -> None:
        self._docker = docker
        self._container = container

    async def followed(self, lines: int) -> AsyncIterator[LogPiece]:
        """The last lines, and what follows."""
        async for batch in self._batches(_Counter(is_within=True), follow="1", tail=str(lines)):
            yield _piece(batch)

    async def resumed(self, after: str) -> AsyncIterator[LogPiece]:
        """What comes after a position; a gap first, if it isn't in the log any more."""
        position = position_of(after)
        if position is None:
            yield _GAP
            async for piece in self.followed(ALL_LINES):
                yield piece
            return
        # What is there is read first, to see whether the position is: a stream that follows doesn't say when
        # it has come to the newest message.
        last = position
        async for piece, reached in self._read_after(position):
            last = reached
            yield piece
        async for piece in self._follow_after(last):
            yield piece

    async def _read_after(self, position: Position) -> AsyncIterator[tuple[LogPiece, Position]]:
        """What is there after a position, each piece with its own position."""
        newer: deque[_Message] = deque(maxlen=KEPT)
        is_found = False
        async for batch in self._batches(_Counter(is_within=False), since=position.since):
            rest = batch if is_found else _after(batch, position)
            if rest is None:
                newer.extend(each for each in batch if each.position.time > position.time)
                continue
            is_found = True
            if rest:
                yield _piece(rest), rest[-1].position
        if not is_found:
            last = newer[-1].position if newer else replace(position, count=0)
            yield _GAP, last
            if newer:
                yield _piece(newer), last

    async def _follow_after(self, position: Position) -> AsyncIterator[LogPiece]:
        """Follow from a position on, of which `_read_after` has just seen that it is there; with `count` 0,
        from the first message that is newer."""
        is_found, late = False, position.moved(EARLIER)
        async for batch in self._batches(_Counter(is_within=False), follow="1", since=position.since):
            if is_found:
                yield _piece(batch)
                continue
            rest = _after(batch, position) if position.count else _newer(batch, position)
            if rest is None and batch[-1].position.time > late:  # the log was rotated at this moment
                yield _GAP
                rest = _newer(batch, position)
            if rest is not None:
                is_found = True
                if rest:
                    yield _piece(rest)

    async def _batches(self, counter: _Counter, **parameters: str) -> AsyncIterator[Sequence[_Message]]:
        """The messages, those together that Docker sends together."""
        shown = await self._docker.containers.container(self._container).show()
        parts = Lines() if shown["Config"]["Tty"] else Frames()
        parameters |= {"stdout": "1", "stderr": "1", "timestamps": "1"}
        path = f"containers/{self._container}/logs"
        async with request(self._docker, path, params=parameters, timeout=WITHOUT_END) as response:
            async for chunk in response.content.iter_any():
                if found := [counter.message(time, text) for time, text in parts.feed(chunk)]:
                    yield found
        if found := [counter.message(time, text) for time, text in parts.rest()]:
            yield found


_GAP = LogPiece("", is_gap=True)


def _piece(batch: Sequence[_Message]) -> LogPiece:
    text = b"".join(message.text for message in batch).decode("utf-8", "replace")
    return LogPiece(text, str(batch[-1].position))


def _after(batch: Sequence[_Message], position: Position) -> Sequence[_Message] | None:
    """The messages after a position; None if it isn't in the batch."""
    found = (index for index, message in enumerate(batch) if message.position == position)
    index = next(found, None)
    return None if index is None else batch[index + 1 :]


def _newer(batch: Sequence[_Message], position: Position) -> Sequence[_Message] | None:
    """The messages from the first one on that is newer than the position; None if none is."""
    found = (index for index, message in enumerate(batch) if message.position.time > position.time)
    index = next(found, None)
    return None if index is None else batch[index:]
