"""The connection to Docker, and the translation of its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiodocker
import aiohttp

from stager.domain.errors import Retry

CALL_TIMEOUT = 60.0
"""Seconds for one call. Docker answers within two seconds unless the machine is overloaded."""

UNREACHABLE = 900
"""The status that aiodocker uses when it can't connect."""


def connect(address: str) -> aiodocker.Docker:
    """Create a client of the engine at this address. It connects with the first call.

    Args:
        address: such as `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2375`.
    """
    return aiodocker.Docker(url=address, timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT))


@contextmanager
def engine_errors() -> Iterator[None]:
    """Translate connection errors, timeouts and Docker's 5xx answers to `Retry`. Other answers of Docker pass
    unchanged."""
    try:
        yield
    except aiodocker.DockerError as error:
        if error.status == UNREACHABLE:
            raise _away(error) from error
        if error.status < 500:
            raise
        raise Retry(
            f"Docker reports an internal error: {error.message}",
            hint="Check Docker's log: `journalctl -u docker`.",
            reason="engine-error",
        ) from error
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise _away(error) from error


def _away(error: Exception) -> Retry:
    return Retry(
        "Docker doesn't answer.",
        hint="Check that it runs and that Stager's user may open its socket: `docker version`.",
        reason="engine-away",
        detail=str(error),
    )
