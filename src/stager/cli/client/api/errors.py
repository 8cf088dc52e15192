"""How a client command ends badly: a sentence, what to do about it, and an exit code that scripts can rely
on."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """The exit codes of the client commands, each with its meaning."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> Code:
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        return code

    OK = 0, "It is done."
    FAILED = 1, "It failed: the server refused, or the preview didn't come up."
    USAGE = 2, "The command, or the client's own settings, make no sense."
    NOT_SIGNED_IN = 3, "No credentials, or the server doesn't know them."
    NOT_PERMITTED = 4, "The server knows who asks, and says no."
    NOT_FOUND = 5, "There is no such preview, or it is gone."
    TIMEOUT = 6, "It was waited for, but not long enough."
    UNREACHABLE = 7, "The server doesn't answer, or what answers isn't Stager."
    INTERRUPTED = 130, "Ctrl-C."


class ClientError(Exception):
    """A client command can't do what it was asked to.

    Args:
        message: what happened, one plain sentence.
        hint: what to do about it; may be empty.
        code: the exit code.
        reason: the server's slug for it, where there is one.
        lines: what the person may want to read next, such as the end of a log.
        passes: whether it may go away by itself in a moment.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: Code = Code.FAILED,
        reason: str = "",
        lines: tuple[str, ...] = (),
        passes: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.reason = reason
        self.lines = lines
        self.passes = passes
