"""Errors of the client commands: a sentence, a hint, and an exit code that scripts can rely on."""

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

    OK = 0, "Success."
    FAILED = 1, "The server refused the request, or the deployment failed."
    USAGE = 2, "The command line or the client's settings are invalid."
    NOT_SIGNED_IN = 3, "There are no credentials, or the server doesn't accept them."
    NOT_PERMITTED = 4, "The signed-in user lacks the permission."
    NOT_FOUND = 5, "There is no such preview, or it was removed."
    TIMEOUT = 6, "The timeout expired."
    UNREACHABLE = 7, "The server doesn't answer, or the server at that URL isn't Stager."
    INTERRUPTED = 130, "Ctrl-C."


class ClientError(Exception):
    """A client command failed.

    Args:
        message: what happened, one plain sentence.
        hint: what to do about it; may be empty.
        code: the exit code.
        reason: the server's reason slug, where there is one.
        lines: details, such as the last lines of a log.
        is_transient: whether a later attempt may succeed.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: Code = Code.FAILED,
        reason: str = "",
        lines: tuple[str, ...] = (),
        is_transient: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.reason = reason
        self.lines = lines
        self.is_transient = is_transient
