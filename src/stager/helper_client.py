"""Stager's side of the root helper's socket. Drivers use it; what it can't do becomes an ending of ours."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from stager.domain.errors import Fault, Retry, StagerError
from stager.helper.protocol import ANSWER_LIMIT, HelperError, decode_answer, encode_request

HINT = "Is `stager-helper` running, and is its socket Stager's? `systemctl status stager-helper` tells."


class HelperClient:
    """Asks the helper; one connection for each question.

    Args:
        socket: its path, `helper_socket` in the configuration.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def call(self, verb: str, timeout: float = 10.0, **fields: Any) -> dict[str, Any]:
        """What the verb results in.

        Args:
            timeout: seconds in all.
            fields: what JSON can hold; each verb says which it wants, and wants all of them.

        Raises:
            Retry: the helper doesn't answer (`helper-away`), or can't do it now (`helper-failed`).
            Fault: `helper-refused`: it won't do this.

            The sentence, the hint and, as the detail, a slug are the helper's own.
        """
        try:
            async with asyncio.timeout(timeout):
                return decode_answer(await self._ask(encode_request(verb, fields)))
        except HelperError as error:
            raise _ending(error) from error
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
            # A helper that turns us away may answer before it has read; what it said is still to be read.
            return await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("too long an answer") from error
        finally:
            writer.close()


def _ending(error: HelperError) -> StagerError:
    said = f"The root helper says: {error.message}"
    if error.kind == "retry":
        return Retry(said, hint=error.hint, reason="helper-failed", detail=error.reason)
    return Fault(said, hint=error.hint, reason="helper-refused", detail=error.reason)
