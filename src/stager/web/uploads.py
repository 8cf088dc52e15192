"""Receives large files: their bodies are streamed to the disk, which they can't fill."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from starlette.requests import ClientDisconnect, Request

from stager.domain.errors import Refused, Retry

DUMP_PATH: Final = "/api/v1/snapshots/restore"
BINARY: Final = "application/octet-stream"
MIN_FREE: Final = 2 << 30
"""Bytes of the disk that stay free."""
TIMEOUT: Final = 24 * 3_600.0
IDLE_TIMEOUT: Final = 60.0
"""Seconds until the next chunk."""
PIECE: Final = 1 << 20
"""Bytes that are written at once."""
AT_ONCE: Final = 4


def is_upload(request: Request) -> bool:
    """Whether the body of a request is streamed here. Bodies of other types are parsed, and are small."""
    return request.url.path == DUMP_PATH and _is_binary(request)


class Uploads:
    """Receives files into a folder. The caller removes each file that it gets.

    Args:
        folder: of nothing but uploads; it is created when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slots = asyncio.Semaphore(AT_ONCE)

    def clear(self) -> None:
        """Remove what an earlier process left behind."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def receive(self, request: Request) -> Path:
        """Receive the body of a request as a file.

        Raises:
            Refused: it isn't `application/octet-stream` (415), it was sent too slowly (408), or the disk has
                too little space (507).
            Retry: too many files are being received.
        """
        if not _is_binary(request):
            raise Refused(
                f"The dump isn't sent as {BINARY}.",
                hint=f"Send the file itself as the body, with `Content-Type: {BINARY}`.",
                reason="upload-type",
                status=415,
            )
        if self._slots.locked():
            raise Retry("Too many dumps are being received.", hint="Try again later.", reason="upload-busy")
        async with self._slots:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder)
            try:
                async with asyncio.timeout(TIMEOUT):
                    await self._write(request, descriptor)
            except TimeoutError as error:
                _remove(name)
                raise _too_slow() from error
            except BaseException:
                _remove(name)
                raise
            finally:
                os.close(descriptor)
        return Path(name)

    async def _write(self, request: Request, descriptor: int) -> None:
        piece = bytearray()
        async for chunk in _chunks(request):
            piece += chunk
            if len(piece) >= PIECE:
                await asyncio.to_thread(self._append, descriptor, bytes(piece))
                piece.clear()
        await asyncio.to_thread(self._append, descriptor, bytes(piece))

    def _append(self, descriptor: int, piece: bytes) -> None:
        """Write a piece. Raises `Refused` (507) if the disk would have too little space."""
        if shutil.disk_usage(self._folder).free - len(piece) < MIN_FREE:
            raise _disk_full()
        try:
            while piece:
                piece = piece[os.write(descriptor, piece) :]
        except OSError as error:
            raise _disk_full() from error


def _remove(name: str) -> None:
    Path(name).unlink()


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_TIMEOUT):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except ClientDisconnect as error:
            raise Refused("The dump wasn't received completely.", reason="upload-cut") from error
        yield chunk


def _is_binary(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == BINARY


def _too_slow() -> Refused:
    return Refused(
        "The dump was sent too slowly.",
        hint=f"The limits are {IDLE_TIMEOUT:g} seconds per chunk and {TIMEOUT / 3_600:g} hours in total.",
        reason="upload-too-slow",
        status=408,
    )


def _disk_full() -> Refused:
    return Refused(
        "The disk of the state folder has too little free space for the dump.",
        hint=f"{MIN_FREE >> 30} GiB must stay free. Free some, or compress the dump.",
        reason="upload-disk-full",
        status=507,
    )
