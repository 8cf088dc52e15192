"""Building and running a pushed commit, with Stager and manually; used by the rows on builds.

Each branch has its own page; the application's other layers are in the build cache after the first build.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from bench.byhand import LOOK_EVERY, ByHand
from bench.testbed import PORT
from stager.engines.docker import labels
from tests.integration.images import base_image
from tests.integration.stager import PATIENCE, StagerUnderTest, docker
from tests.local_forge.workshop import Clone

LISTENING = 0.2
"""Seconds until `docker events` reports what happens, at most."""

DOCKERFILE = """\
FROM {base}
RUN mkdir /site && head -c 20000000 /dev/zero > /site/large
COPY index.html /site/
EXPOSE {port}
CMD ["httpd", "-f", "-p", "{port}", "-h", "/site"]
"""


def dockerfile() -> str:
    """The Dockerfile of the application: a large layer, and the page."""
    return DOCKERFILE.format(base=base_image("static"), port=PORT)


class Author:
    """A developer with a clone who pushes branches.

    Args:
        folder: an empty one.
        remote: the repository that the branches go to.
        files: of the branch `main`, by path.
        page: path of the file that each branch changes.
    """

    def __init__(
        self, folder: Path, remote: Path, files: Mapping[str, str] | None = None, page: str = "index.html"
    ) -> None:
        self.clone = Clone(folder, remote)
        self._page = page
        for path, text in (files or {"Dockerfile": dockerfile()}).items():
            (folder / path).parent.mkdir(exist_ok=True)
            self.clone.commit(path, text)

    def begin(self, name: str) -> None:
        """Create a branch and check it out."""
        self.clone.git("checkout", "--quiet", "-B", name, "main")
        self.change(f"{name} of {self.clone.folder}")

    def change(self, page: str) -> None:
        """Commit another page."""
        self.clone.commit(self._page, page)

    async def push(self, *names: str) -> None:
        await asyncio.to_thread(self.clone.push, *names)

    def folder_of(self, name: str) -> Path:
        """A folder with the files of a branch."""
        folder = self.clone.folder.parent / f"{self.clone.folder.name}-{name}"
        self.clone.git("worktree", "add", "--quiet", "--detach", str(folder), name)
        return folder


class BuiltByHand:
    """`git push` to a bare repository without hooks, `docker buildx build`, and a container of the image.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        bare = folder / "shop.git"
        subprocess.run(["git", "init", "--quiet", "--bare", str(bare)], check=True)
        self.author = Author(folder / "by-hand", bare)
        self.hand = ByHand()
        self._images: list[str] = []

    async def __aenter__(self) -> Self:
        await self.hand.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hand.__aexit__(kind, error, trace)
        if self._images:
            docker("image", "rm", "--force", *self._images)

    async def run(self, folder: Path) -> None:
        """Build the folder, run the image, and wait for its first 200."""
        tag = f"stager-bench/by-hand:{len(self._images) + 1}"
        self._images.append(tag)
        build = await asyncio.create_subprocess_exec(
            *(
                "docker",
                "buildx",
                "build",
                "--builder",
                "default",
                "--quiet",
                "--load",
                "--tag",
                tag,
                str(folder),
            ),
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await build.wait() == 0, "docker buildx build failed"
        await self.hand.launch(tag)

    async def remove(self) -> None:
        """Remove the running containers."""
        await self.hand.remove()


class Watcher:
    """Requests previews until they show the pushed commit.

    Args:
        author: of the pushes.
    """

    def __init__(self, stager: StagerUnderTest, author: Author) -> None:
        self._stager = stager
        self._author = author

    async def shows(self, name: str, every: float = LOOK_EVERY) -> float:
        """The moment, by `perf_counter`, at which a branch's preview shows its commit.

        Args:
            every: seconds between two requests.
        """
        wanted = f"{name} of {self._author.clone.folder}"
        async with asyncio.timeout(PATIENCE * 5):
            while await self.page(name) != (200, wanted):  # noqa: ASYNC110 (it is asked as visitors ask)
                await asyncio.sleep(every)
        return perf_counter()

    async def live_after(self, name: str) -> float:
        """Seconds from the push of a new branch until its preview shows it. Removes both."""
        self._author.begin(name)
        started = asyncio.create_task(self.next_start())
        await asyncio.sleep(LISTENING)
        begun = perf_counter()
        await self._author.push(name)
        await started
        took = await self.shows(name) - begun
        await self.remove([name])
        return took

    async def next_start(self) -> None:
        """Wait until a container of Stager's is started, by Docker's events. Polling the preview would
        take a fifth of a processor from the build, and the manual measurement doesn't poll either."""
        label = f"{labels.INSTALLATION}={self._stager.installation}"
        events = await asyncio.create_subprocess_exec(
            *("docker", "events", "--filter", f"label={label}", "--filter", "event=start"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert events.stdout
        try:
            async with asyncio.timeout(PATIENCE * 5):
                await events.stdout.readline()
        finally:
            events.kill()
            await events.wait()

    async def remove(self, names: Sequence[str]) -> None:
        """Delete branches, and wait until their previews are removed."""
        await self._author.push("--delete", *names)
        async with asyncio.timeout(PATIENCE * 5):
            while await asyncio.to_thread(self._stager.containers):  # noqa: ASYNC110 (Docker is asked)
                await asyncio.sleep(0.1)

    async def page(self, name: str) -> tuple[int, str]:
        """Status and text of a branch's preview, requested in a way that takes little time."""
        address = urlsplit(self._stager.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(f"GET / HTTP/1.0\r\nHost: {self._stager.host(name)}\r\n\r\n".encode())
        head, _, text = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split(maxsplit=2)[1]), text.decode()


def built_here(folder: Path) -> dict[str, Any]:
    """Stager's configuration that builds `shop` from the repositories in a folder."""
    return {"local_forge": str(folder), "images": {"shop": {"build": ".", "image": None, "port": None}}}
