"""The server's end of WebSocket (RFC 6455), as far as a chat needs it: text, a few kilobytes at a time."""

from __future__ import annotations

import asyncio
import base64
import hashlib

ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""From section 1.3."""
LONGEST = 4_096
"""Bytes of a message."""
SLOWEST = 1 << 20
"""Bytes that may wait for a client."""
CONTINUATION, TEXT, CLOSE, PING, PONG = 0x0, 0x1, 0x8, 0x9, 0xA
GOING_AWAY, PROTOCOL_ERROR, NOT_TEXT, TOO_LONG = 1001, 1002, 1007, 1009


def accept(key: str) -> str:
    """What answers a client's `Sec-WebSocket-Key` (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(f"{key}{ACCEPT}".encode(), usedforsecurity=False).digest()).decode()


class ClosedError(Exception):
    """The connection is over.

    Args:
        code: what to tell the client (section 7.4.1).
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class WebSocket:
    """One connection, after the handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> str:
        """The next message. Answers pings on the way. Raises `ClosedError` at the end."""
        message = b""
        started = False
        while True:
            final, opcode, payload = await self._frame()
            if opcode == PING:
                self._send(PONG, payload)
            elif opcode == CLOSE:
                raise ClosedError(int.from_bytes(payload[:2], "big") if len(payload) > 1 else 1000)
            elif opcode in (TEXT, CONTINUATION):
                if (opcode == CONTINUATION) is not started:
                    raise ClosedError(PROTOCOL_ERROR)
                message += payload
                started = not final
                if len(message) > LONGEST:
                    raise ClosedError(TOO_LONG)
                if final:
                    return self._text(message)
            elif opcode != PONG:
                raise ClosedError(PROTOCOL_ERROR)

    def send(self, text: str) -> None:
        """Send a message. It waits for a client that is slow; one that doesn't listen at all is dropped."""
        self._send(TEXT, text.encode())
        if self._writer.transport.get_write_buffer_size() > SLOWEST:
            self._writer.transport.abort()

    def close(self, code: int = GOING_AWAY) -> None:
        if not self._writer.is_closing():
            self._send(CLOSE, code.to_bytes(2, "big"))
            self._writer.close()

    @staticmethod
    def _text(message: bytes) -> str:
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            raise ClosedError(NOT_TEXT) from error

    async def _frame(self) -> tuple[bool, int, bytes]:
        """Section 5.2. Whatever a client sends is masked."""
        try:
            first, second = await self._reader.readexactly(2)
            length = second & 0x7F
            if length > 125:
                length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8), "big")
            if first & 0x70 or not second & 0x80:
                raise ClosedError(PROTOCOL_ERROR)
            if length > LONGEST:
                raise ClosedError(TOO_LONG)
            mask = await self._reader.readexactly(4)
            payload = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ClosedError(GOING_AWAY) from error
        return bool(first & 0x80), first & 0x0F, bytes(b ^ mask[i & 3] for i, b in enumerate(payload))

    def _send(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length > 0xFFFF:
            head = bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")
        elif length > 125:
            head = bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, length))
        self._writer.write(head + payload)
