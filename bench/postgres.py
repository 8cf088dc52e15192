"""PostgreSQL under measurement: a database of about 1 GB, and a client that asks until it answers.

A client of its own, because `psql` in the container costs more than a start from a clone.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

from bench.byhand import LOOK_EVERY
from tests.integration.stager import PATIENCE

PORT = 5432
USER = "bench"
SCALE = 60
"""Of pgbench: 6 million rows, about 0.9 GB, 1.7 GB on disk with the log."""
QUERY = "select count(*) from pgbench_branches"
UPDATE = "update pgbench_accounts set abalance = abalance + 1 where aid = 1"
PREPARE = f"""
    set -e
    pgbench -iq -s {SCALE} -U "$POSTGRES_USER" "$POSTGRES_DB" >/dev/null 2>&1
    sed -i s/scram-sha-256/trust/ "$PGDATA/pg_hba.conf"
    psql -qU "$POSTGRES_USER" "$POSTGRES_DB" -c checkpoint
"""
"""Creates the data, and lets the client in without a password."""
VARIABLES = {"POSTGRES_USER": USER, "POSTGRES_PASSWORD": "bench", "POSTGRES_DB": USER}
PROTOCOL = 196608
"""Version 3.0, https://www.postgresql.org/docs/15/protocol-message-formats.html."""
READY = b"Z"
FAILED = b"E"


class NotReadyError(Exception):
    """The server refuses connections, as it does while it starts."""


async def answer(address: str, query: str = QUERY) -> str:
    """Repeat the query until the server answers it; returns the first column of the first row, or nothing."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(OSError, NotReadyError, asyncio.IncompleteReadError):
                return await _asked(address, query)
            await asyncio.sleep(LOOK_EVERY)


async def _asked(address: str, query: str) -> str:
    reader, writer = await asyncio.open_connection(address, PORT)
    try:
        names = b"".join(word.encode() + b"\0" for word in ("user", USER, "database", USER, ""))
        writer.write(struct.pack("!ii", 8 + len(names), PROTOCOL) + names)
        await _until_ready(reader)
        text = query.encode() + b"\0"
        writer.write(b"Q" + struct.pack("!i", 4 + len(text)) + text)
        rows = [body for kind, body in await _until_ready(reader) if kind == b"D"]
        return rows[0][6:].decode() if rows else ""
    finally:
        writer.close()


async def _until_ready(reader: asyncio.StreamReader) -> list[tuple[bytes, bytes]]:
    """Read the messages until the server is ready for a query. Raises NotReadyError."""
    messages = []
    while True:
        kind = await reader.readexactly(1)
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        body = await reader.readexactly(length - 4)
        if kind == FAILED:
            raise NotReadyError(body)
        messages.append((kind, body))
        if kind == READY:
            return messages
