"""Streams images from one engine to another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlencode

import aiodocker
import aiohttp

from stager.domain.errors import Fault, Retry, StagerError
from stager.engines.docker.build.image_archive import Expected, checked
from stager.engines.docker.client import engine_errors, request

LONGEST = aiohttp.ClientTimeout(total=900.0)
"""Seconds for one image."""
LOADED = "Loaded image ID: "


async def copy(source: aiodocker.Docker, target: aiodocker.Docker, names: Sequence[str]) -> None:
    """Copy images with their tags from the trusted engine to the untrusted one. Raises `Retry`, and `Fault`
    (`image-missing`) for a missing image."""
    with engine_errors():
        async with request(source, _all_of(names), timeout=LONGEST) as given:
            await _load(target, given.content.iter_any())


def _all_of(names: Sequence[str]) -> str:
    return f"images/get?{urlencode([('names', name) for name in names])}"


async def take(source: aiodocker.Docker, target: aiodocker.Docker, expected: Expected) -> None:
    """Copy one image without tags from the untrusted engine.

    Raises:
        Fault: `image-refused`, `image-too-large`: the image is rejected, and the target unchanged.
        Retry: one of the engines doesn't answer.
    """
    failures: list[StagerError] = []
    try:
        with engine_errors():
            async with source.images.export_image(expected.image, timeout=LONGEST) as archive:
                loaded = await _load(target, _recording(checked(archive, expected), failures))
    except (StagerError, aiodocker.DockerError) as error:
        if failures:
            raise failures[0] from error
        raise error if isinstance(error, StagerError) else _not_loaded(error) from error
    if loaded != [expected.image]:
        raise Fault(
            f"Docker loaded another image than {expected.image}: {', '.join(loaded) or 'none'}.",
            reason="image-refused",
        )


async def _load(docker: aiodocker.Docker, archive: AsyncIterator[bytes]) -> list[str]:
    """Load an archive. Returns the ids of images without a tag."""
    found = []
    answer = docker.images.import_image(archive, stream=True, timeout=LONGEST)
    async for line in answer:
        text = str(line.get("stream", ""))
        if text.startswith(LOADED):
            found.append(text.removeprefix(LOADED).strip())
    return found


async def _recording(archive: AsyncIterator[bytes], failures: list[StagerError]) -> AsyncIterator[bytes]:
    """Record errors of the archive: aiohttp sends it in a task of its own and replaces its errors."""
    try:
        async for chunk in archive:
            yield chunk
    except StagerError as error:
        failures.append(error)
        raise
    except (aiohttp.ClientError, OSError, EOFError) as error:
        failures.append(
            Retry(
                "The builder for untrusted code stopped responding during the transfer of an image.",
                hint="The log of `stager-helper` says more.",
                reason="engine-away",
                detail=repr(error),
            )
        )
        raise


def _not_loaded(error: aiodocker.DockerError) -> Fault:
    return Fault(
        f"Docker couldn't load the image that was built: {error.message}",
        hint="Check the free space on its disk; `docker system df` shows what uses it.",
        reason="image-not-loaded",
    )
