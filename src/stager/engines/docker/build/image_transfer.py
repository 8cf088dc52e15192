"""Carries images from one engine to another, as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlencode

import aiodocker
import aiohttp

from stager.domain.errors import Fault, Retry, StagerError
from stager.engines.docker.build.image_archive import Expected, checked
from stager.engines.docker.client import engine_errors

LONGEST = aiohttp.ClientTimeout(total=900.0)
"""Seconds for one image."""
LOADED = "Loaded image ID: "


async def copy(source: aiodocker.Docker, target: aiodocker.Docker, names: Sequence[str]) -> None:
    """Copy images with their tags, from an engine that is trusted to one that isn't. Raises `Retry`, and
    `Fault` (`image-missing`) when one isn't there."""
    with engine_errors():
        async with source._query(_all_of(names), timeout=LONGEST) as given:  # noqa: SLF001
            await _load(target, given.content.iter_any())


def _all_of(names: Sequence[str]) -> str:
    return f"images/get?{urlencode([('names', name) for name in names])}"


async def take(source: aiodocker.Docker, target: aiodocker.Docker, expected: Expected) -> None:
    """Copy one image without tags, from an engine that isn't trusted.

    Raises:
        Fault: `image-refused`, `image-too-large`: it isn't taken, and the target is as it was.
        Retry: one of the engines doesn't answer.
    """
    failures: list[StagerError] = []
    try:
        with engine_errors():
            async with source._query(f"images/{expected.image}/get", timeout=LONGEST) as given:  # noqa: SLF001
                said = await _load(target, _noting(checked(given.content, expected), failures))
    except (StagerError, aiodocker.DockerError) as error:
        if failures:
            raise failures[0] from error
        raise error if isinstance(error, StagerError) else _not_loaded(error) from error
    if said != [expected.image]:
        raise Fault(
            f"Docker loaded another image than {expected.image}: {', '.join(said) or 'none'}.",
            reason="image-refused",
        )


async def _load(docker: aiodocker.Docker, archive: AsyncIterator[bytes]) -> list[str]:
    """The ids of what was loaded without a tag."""
    found = []
    answer = docker.images.import_image(archive, stream=True, timeout=LONGEST)
    async for line in answer:
        text = str(line.get("stream", ""))
        if text.startswith(LOADED):
            found.append(text.removeprefix(LOADED).strip())
    return found


async def _noting(archive: AsyncIterator[bytes], failures: list[StagerError]) -> AsyncIterator[bytes]:
    """aiohttp sends it from a task of its own, and makes another error of what goes wrong there."""
    try:
        async for chunk in archive:
            yield chunk
    except StagerError as error:
        failures.append(error)
        raise
    except (aiohttp.ClientError, OSError, EOFError) as error:
        failures.append(
            Retry(
                "The builder for untrusted code stopped answering while it handed over an image.",
                hint="The log of `stager-helper` says more.",
                reason="engine-away",
                detail=repr(error),
            )
        )
        raise


def _not_loaded(error: aiodocker.DockerError) -> Fault:
    return Fault(
        f"Docker couldn't load the image that was built: {error.message}",
        hint="Is there room left on its disk? `docker system df` tells what takes it.",
        reason="image-not-loaded",
    )
