"""The helper's server: authorizes callers, limits their requests, and runs the verbs."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import stat
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from stager.helper.protocol import (
    LINE_LIMIT,
    HelperError,
    Request,
    decode_request,
    encode_error,
    encode_result,
    refused,
)
from stager.helper.verbs import Feature, Registry, Verb

log = logging.getLogger("stager-helper")

CONNECTIONS = 16
"""Maximum number of concurrent connections; more are refused. Stager starts eight containers at once."""
IO_TIMEOUT = 5.0
"""Seconds for a request to arrive, and for an answer to be read."""
REFUSAL_TIMEOUT = 0.2
"""Seconds for a refused caller to finish sending its request."""
TICK = 5.0
"""Seconds between two calls of a feature's `tick`."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CREDENTIALS = struct.Struct("3i")
"""`struct ucred` of unix(7): process, user, group."""


class Server:
    """Answers one request per connection.

    Args:
        path: the socket's path; only root (in tests: the current user) may write to its folder.
        user, group: the owner of the socket. Only this user and the helper's own may call.
        registry: the verbs.
        tick: seconds between two calls of a feature's `tick`.
    """

    def __init__(self, path: Path, user: int, group: int, registry: Registry, *, tick: float = TICK) -> None:
        self._path, self._user, self._group = path, user, group
        self._registry = registry
        self._tick = tick
        self._queues: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._open = 0
        self._running: set[asyncio.Task[Mapping[str, object]]] = set()

    async def run(self, stopped: asyncio.Event) -> None:
        """Serve until `stopped` is set; then finish the running requests.

        Raises:
            OSError: the socket can't be created.
            HelperError: others may write to the folder, or another helper serves the socket.
        """
        check_folder(self._path.parent)
        with _locked(self._path), contextlib.ExitStack() as stack:
            for feature in self._registry.features:
                stack.callback(feature.stop)
                await asyncio.to_thread(feature.start)
            async with _listening(self._path, self._user, self._group, self._serve):
                log.info("listening on %s", self._path)
                ticking = [asyncio.create_task(self._ticking(each)) for each in self._registry.features]
                await stopped.wait()
                for task in ticking:
                    task.cancel()
            await asyncio.gather(*ticking, *self._running, return_exceptions=True)

    async def _ticking(self, feature: Feature) -> None:
        while True:
            await asyncio.sleep(self._tick)
            try:
                async with self._queues[feature.name]:
                    await asyncio.to_thread(feature.tick)
            except HelperError as error:
                log.warning("%s: %s", feature.name, error.message)
            except Exception:
                log.exception("%s", feature.name)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            answer = await self._answer(reader, writer)
            writer.write(answer)
            async with asyncio.timeout(IO_TIMEOUT):
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # the caller has disconnected
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        try:
            await self._authorize(reader, writer)
            return encode_result(await self._do(decode_request(await _line(reader))))
        except HelperError as error:
            if error.kind == "refused":
                log.warning("refused: %s", error.message)
            return encode_error(error)
        except Exception:
            log.exception("unexpected error")
            message = "Unexpected error in the helper; its log has the traceback."
            return encode_error(HelperError(message, kind="fault", reason="bug"))

    async def _authorize(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self._check(writer)
        except HelperError:
            with contextlib.suppress(
                Exception
            ):  # a caller that is disconnected while it writes may not read the answer
                async with asyncio.timeout(REFUSAL_TIMEOUT):
                    await reader.readuntil(b"\n")
            raise

    def _check(self, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        _, user, _ = CREDENTIALS.unpack(packed)
        if user not in (self._user, os.geteuid()):
            raise refused(f"User {user} may not call the helper; user {self._user} may.", "not-allowed")
        if self._open > CONNECTIONS:
            raise HelperError(
                f"There are more than {CONNECTIONS} concurrent requests.", kind="retry", reason="busy"
            )

    async def _do(self, request: Request) -> Mapping[str, object]:
        verb = self._registry.find(request.verb)
        values = verb.shape(request.fields, "fields")
        started = asyncio.Event()
        task = asyncio.create_task(self._run_in_queue(verb, values, started))
        self._running.add(task)
        task.add_done_callback(self._done)
        finished, _ = await asyncio.wait({task}, timeout=verb.timeout)
        if not finished:
            if not started.is_set():
                task.cancel()
            raise HelperError(
                f"{verb.name} took longer than {verb.timeout:g} s.", kind="retry", reason="slow"
            )
        return task.result()

    def _done(self, task: asyncio.Task[Mapping[str, object]]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("request failed: %r", error)

    async def _run_in_queue(
        self, verb: Verb, values: Mapping[str, object], started: asyncio.Event
    ) -> Mapping[str, object]:
        async with self._queues[verb.queue]:
            started.set()
            return await asyncio.to_thread(verb.run, values)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(IO_TIMEOUT):
            return await reader.readuntil(b"\n")
    except TimeoutError:
        raise refused(f"The request didn't arrive within {IO_TIMEOUT:g} s.", "half-line") from None
    except asyncio.IncompleteReadError:
        raise refused("The request doesn't end with a line end.", "half-line") from None
    except asyncio.LimitOverrunError:
        raise refused(f"The request is longer than {LINE_LIMIT} bytes.", "too-long") from None


@contextlib.asynccontextmanager
async def _listening(path: Path, user: int, group: int, serve: Serve) -> AsyncIterator[None]:
    """Listen at this path, on a socket that only this user may open."""
    with _bound(path) as listener:
        os.chown(path, user, group)
        async with await asyncio.start_unix_server(serve, sock=listener, limit=LINE_LIMIT):
            yield


@contextlib.contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    try:
        yield listener
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Take the lock of this path. The kernel releases it when this process exits."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HelperError(f"Another helper serves {path}.", kind="fault", reason="running") from None
        yield


def check_folder(folder: Path) -> None:
    """Check that no other user can replace the socket in this folder.

    Raises:
        HelperError: it isn't a folder, it belongs to another user, or others may write to it.
    """
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise HelperError(
            f"{folder} must be a folder that belongs to root and that only root may write to.",
            kind="fault",
            reason="unsafe-folder",
        )
