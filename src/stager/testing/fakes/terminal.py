"""A terminal in memory, on which a small shell may run."""

from __future__ import annotations

import asyncio

from stager.ports.engine import Size

CUT_SHORT = 137
"""The exit code of what ended with its instance: 128 + SIGKILL."""


class FakeTerminal:
    """See `stager.ports.engine.Terminal`.

    What listens answers each line that is typed: `size` with rows and columns, `kind` with the kind of
    terminal, `exit N` by ending with N, and anything else with `you said ...`.

    Args:
        output: what it prints at first.
        exit_code: what it ends with, when it doesn't listen.
    """

    def __init__(self, output: str, exit_code: int, size: Size, kind: str, *, listens: bool = False) -> None:
        self.size = size
        self.kind = kind
        self.closed = False
        self._exit_code: int | None = None if listens else exit_code
        self._typed = ""
        self._output: asyncio.Queue[bytes] = asyncio.Queue()
        self._print(output)
        if not listens:
            self._output.put_nowait(b"")

    async def read(self) -> bytes:
        piece = await self._output.get()
        if not piece:
            self._output.put_nowait(b"")  # the end stays the end
        return piece

    async def write(self, data: bytes) -> None:
        if self._exit_code is not None:
            return
        self._typed += data.decode("utf-8", "replace").replace("\r", "\n")
        while "\n" in self._typed and self._exit_code is None:
            line, _, self._typed = self._typed.partition("\n")
            self._answer(line)

    async def resize(self, size: Size) -> None:
        self.size = size

    async def exit_code(self) -> int | None:
        return self._exit_code

    async def close(self) -> None:
        self.closed = True
        self.end()

    def end(self, exit_code: int = CUT_SHORT) -> None:
        """It ends, as with its instance; no effect when it has ended before."""
        if self._exit_code is None:
            self._exit_code = exit_code
            self._output.put_nowait(b"")

    def _answer(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "exit":
            self.end(int(rest or 0))
        elif word == "size":
            self._print(f"{self.size.rows} {self.size.columns}")
        else:
            self._print(self.kind if word == "kind" else f"you said {line}")

    def _print(self, text: str) -> None:
        if text:
            self._output.put_nowait("".join(f"{line}\r\n" for line in text.splitlines()).encode())
