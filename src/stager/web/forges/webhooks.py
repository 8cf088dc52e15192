"""Reads a forge's delivery: what the headers can tell first, then the body, which is checked as it comes. A
large one waits for that in a file."""

from __future__ import annotations

from collections.abc import Sequence
from tempfile import SpooledTemporaryFile
from typing import Final

from fastapi import Request

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import Delivery
from stager.ports.forge import Signed, Webhooks
from stager.web.context import web_of

IN_MEMORY: Final = 1024 * 1024
"""Bytes of a body that isn't known to be signed. Most deliveries of GitHub have some 20 kB."""


async def deliveries_of(request: Request, control: ControlPlane, webhooks: Webhooks) -> Sequence[Delivery]:
    """The deliveries that this request brings.

    Raises:
        Refused, Retry: see `Webhooks.receive`.
    """
    headers = dict(request.headers)
    try:
        body = await _signed_body(request, webhooks.expect(headers), web_of(request).options.spool)
        return await webhooks.receive(headers, body)
    except Refused:
        control.metrics.delivery("refused")
        raise


async def _signed_body(request: Request, signed: Signed, folder: str) -> bytes:
    with SpooledTemporaryFile(IN_MEMORY, dir=folder or None) as file:
        async for piece in request.stream():
            signed.update(piece)
            file.write(piece)
        signed.check()
        file.seek(0)
        return file.read()
