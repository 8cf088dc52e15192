"""The client of the root helper. The helper's errors become `Retry` or `Fault`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from stager.domain.errors import Fault, Retry, StagerError
from stager.helper.protocol import ANSWER_LIMIT, HelperError, decode_answer, encode_request

HINT = "Check that `stager-helper` runs (`systemctl status stager-helper`), for Stager's user (`--user`)."


class HelperClient:
    """Calls the helper, with one connection per request.

    Args:
        socket: the path of its socket, `helper_socket` in the configuration.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def call(self, verb: str, timeout: float = 10.0, **fields: Any) -> dict[str, Any]:
        """Call a verb; returns its result.

        Args:
            verb: the verb's name.
            timeout: seconds for the whole call.
            fields: the verb's fields, JSON values. All fields of the verb are required.

        Raises:
            Retry: `helper-away`: the helper doesn't answer; `helper-failed`: a temporary error.
            Fault: `helper-refused`: it rejects the request, or the error is permanent.

            Message, hint and, as the detail, the reason are the helper's.
        """
        try:
            async with asyncio.timeout(timeout):
                return decode_answer(await self._ask(encode_request(verb, fields)))
        except HelperError as error:
            raise _translated(error) from error
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            raise Retry(
                f"The root helper doesn't answer on {self.socket}.",
                hint=HINT,
                reason="helper-away",
                detail=repr(error),
            ) from error

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self.socket), limit=ANSWER_LIMIT)
        try:
            writer.write(request)
            # A helper that refuses the connection may answer before it has read the request.
            return await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("the answer is too long") from error
        finally:
            writer.close()


def unreadable(detail: str) -> Fault:
    """Make the error for an answer of another format."""
    return Fault(
        "The root helper's answer has another format.",
        hint="Stager and its helper must have the same version: restart both.",
        reason="helper-refused",
        detail=detail,
    )


def _translated(error: HelperError) -> StagerError:
    message = f"The root helper reports: {error.message}"
    if error.kind == "retry":
        return Retry(message, hint=error.hint, reason="helper-failed", detail=error.reason)
    return Fault(message, hint=error.hint, reason="helper-refused", detail=error.reason)
