"""The connection to Docker, the translation of its errors, and calls that aiodocker has no method for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

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


@asynccontextmanager
async def request(
    docker: aiodocker.Docker, path: str, method: str = "GET", **options: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Make a call that aiodocker has no method for, or whose body or answer its method changes. The answer
    needn't be read to its end.

    Args:
        path: without the version, such as `containers/json`.
        options: those of aiodocker's requests: `params`, `data`, `headers`, `timeout`.

    Raises:
        DockerError: Docker refuses.
    """
    # aiodocker's only way
    async with docker._query(path, method, **options) as response, response:  # noqa: SLF001
        yield response


async def request_json(docker: aiodocker.Docker, path: str, method: str = "GET", **options: Any) -> Any:
    """As `request`; returns the answer's JSON."""
    return await docker._query_json(path, method, **options)  # noqa: SLF001 (aiodocker's only way)


async def data_root(docker: aiodocker.Docker) -> str:
    """The folder of Docker's data on its machine. Raises `Retry`."""
    with engine_errors():
        return str((await docker.system.info())["DockerRootDir"])


async def list_containers(
    docker: aiodocker.Docker, filters: str, *, with_sizes: bool = False
) -> list[dict[str, Any]]:
    """The rows of Docker's list of containers, whether they run or not. Raises `Retry`.

    Args:
        with_sizes: with what each container has written. Expensive: Docker reads its files.
    """
    params: dict[str, Any] = {"all": 1, "filters": filters, **({"size": 1} if with_sizes else {})}
    with engine_errors():
        rows: list[dict[str, Any]] = await request_json(docker, "containers/json", params=params)
    return rows


async def remove_container(docker: aiodocker.Docker, container: str) -> None:
    """Remove a container with its volumes that have no name. Raises `Retry`.

    Args:
        container: its id or name.
    """
    with engine_errors():
        try:
            await docker.containers.container(container).delete(v=True, force=True)
        except aiodocker.DockerError as error:
            if error.status not in (404, 409):  # it is gone, or being removed
                raise


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
