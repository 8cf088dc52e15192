"""Receives webhook deliveries: checks the headers first, then the signature while the body is read. Large
bodies are spooled to a file."""

from __future__ import annotations

from collections.abc import Sequence
from tempfile import SpooledTemporaryFile
from typing import Final

from fastapi import Request

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import Delivery
from stager.ports.forge import Signed
from stager.web.context import web_of

IN_MEMORY: Final = 1024 * 1024
"""Bytes of an unverified body to keep in memory. Most of GitHub's deliveries have about 20 kB."""


async def deliveries_of(request: Request, control: ControlPlane, forge: str) -> Sequence[Delivery]:
    """Verify a request and return its deliveries.

    Args:
        forge: the name of a known forge.

    Raises:
        Refused, Retry: see `Webhooks.receive`.
    """
    headers, webhooks = dict(request.headers), control.ports.webhooks[forge]
    try:
        body = await _signed_body(request, webhooks.expect(headers), web_of(request).options.spool)
        return await webhooks.receive(headers, body)
    except Refused as error:
        await control.pull_requests.deliveries.refused(forge, error)
        raise


async def _signed_body(request: Request, signed: Signed, folder: str) -> bytes:
    with SpooledTemporaryFile(IN_MEMORY, dir=folder or None) as file:
        async for chunk in request.stream():
            signed.update(chunk)
            file.write(chunk)
        signed.check()
        file.seek(0)
        return file.read()
