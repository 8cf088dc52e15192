"""The connection to Docker, and how its errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiodocker
import aiohttp

from stager.domain.errors import Retry

CALL_TIMEOUT = 60.0
"""Seconds for one call. Docker answers within a second or two unless the machine is in trouble."""

UNREACHABLE = 900
"""The status that aiodocker makes up when it can't connect."""


def connect(address: str) -> aiodocker.Docker:
    """A client of the engine at this address; no connection is made before the first call.

    Args:
        address: such as `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2375`.
    """
    return aiodocker.Docker(url=address, timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT))


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turns what goes wrong between us and Docker into `Retry`; its answers to us pass as they are, but for
    those that tell of its own trouble (5xx)."""
    try:
        yield
    except aiodocker.DockerError as error:
        if error.status == UNREACHABLE:
            raise _away(error) from error
        if error.status < 500:
            raise
        raise Retry(
            f"Docker reports an error of its own: {error.message}",
            hint="Its log says more (`journalctl -u docker`).",
            reason="engine-error",
        ) from error
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise _away(error) from error


def _away(error: Exception) -> Retry:
    return Retry(
        "Docker doesn't answer.",
        hint="Is it running, and may Stager's user open its socket? `docker version` tells.",
        reason="engine-away",
        detail=str(error),
    )
