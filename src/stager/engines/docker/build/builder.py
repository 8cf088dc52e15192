"""Makes images of source trees: BuildKit, which is in Docker, by `docker buildx`.

The Engine API alone would build as well, but without secrets: those need a session, which buildx has.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import aiodocker

from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.recipe import Recipe
from stager.engines.docker.build import buildx, failure_causes
from stager.engines.docker.build.build_context import Context, locate
from stager.engines.docker.build.built_images import MadeImages, facts
from stager.engines.docker.build.dockerfile import declared
from stager.engines.docker.build.progress import Progress
from stager.engines.docker.client import engine_errors
from stager.ports.builder import BuildOrder, ImageFacts, Say

SHORTEST_MASKED = 4
"""Characters of a secret, or of a line of one, below which it isn't looked for in the log: it would be found
everywhere."""

AWAY = re.compile(
    r"Cannot connect to the Docker daemon|error during connect|\bUnavailable: |code = Unavailable|"
    r"error reading from server: EOF|transport is closing"
)
"""By these words the process says that it isn't the build that failed: those of `docker` itself, and gRPC's
code for a server that went away, in the ways in which releases of BuildKit write it,
https://grpc.io/docs/guides/status-codes/."""

NO_ENGINE = "unix:///dev/null"
"""An address at which nothing answers."""

COMMIT_ARGUMENTS = frozenset({"STAGER_SHA", "SOURCE_COMMIT"})
"""Build arguments that have the commit: named like the variable of instances, and as hosting platforms do."""

LONGEST_DOCKERFILE = 1 << 16
"""Bytes of a Dockerfile that are read for its ports and arguments. Strangers write them, too."""

HONOURS_CGROUPS = 23
"""The first release of Docker whose BuildKit runs steps under the cgroup that it is told; 20.10 doesn't."""


class BuildxBuilder:
    """See `ports.builder.Builder`.

    Args:
        engine: the engine's address, the same that `docker` is connected to.
        installation: the id by which what is ours is known.
        disk_floor: bytes that have to be free on the engine's disk before a build begins.
        cgroup_parent: a cgroup that exists, under which a build's steps run: its limits are theirs. Empty
            for the engine's own. Docker 23 or later heeds it.
        cache_limit: bytes of build cache that `prune_cache` leaves. The cache isn't ours alone; None leaves
            it alone.
        isolated: whether the engine isn't trusted: it then gets nothing of our environment and Docker
            configuration, and images without names.
    """

    def __init__(
        self,
        docker: aiodocker.Docker,
        engine: str,
        installation: str,
        *,
        disk_floor: int = 0,
        cgroup_parent: str = "",
        cache_limit: int | None = None,
        isolated: bool = False,
    ) -> None:
        self.installation = installation
        self._docker = docker
        self._engine = engine
        self._images = MadeImages(docker, installation)
        self._disk_floor = disk_floor
        self._cgroup_parent = cgroup_parent
        self._cache_limit = cache_limit
        self._isolated = isolated
        self._building: Counter[str] = Counter()
        self._root: Path | None = None
        self._program: Sequence[str] = ()

    async def find(self, app: str, key: str) -> str | None:
        """See `Builder.find`."""
        return await self._images.find(app, key)

    async def facts(self, image: str) -> ImageFacts:
        """See `Builder.facts`."""
        return facts(await self._images.inspect(image))

    async def sweep(self, keep: Collection[str]) -> int:
        """See `Builder.sweep`."""
        return await self._images.sweep(keep, self._building.keys())

    async def build(self, order: BuildOrder, say: Say) -> str:
        """See `Builder.build`. The values of secrets are masked in what is said."""
        context = locate(order.tree, order.recipe)
        await self._check_room()
        await self._check_cgroup(say)
        with self.noted(order.key), tempfile.TemporaryDirectory(prefix="stager-build-") as folder:
            image = await self._run(order, context, Path(folder), say)
            return str((await self._images.inspect(image))["Id"])

    async def _run(self, order: BuildOrder, context: Context, folder: Path, say: Say) -> str:
        id_file = folder / "image"
        dockerfile = _text(context)
        order = with_commit(order, dockerfile)
        arguments = buildx.command(
            context,
            order.recipe,
            labels=self._images.labels(order, dockerfile),
            tag="" if self._isolated else self._images.tag(order),
            id_file=id_file,
            cgroup_parent=self._cgroup_parent,
            untrusted=order.untrusted,
        )
        progress = Progress(say, masking(order.recipe))
        variables = self._variables(order.recipe, folder)
        try:
            async with asyncio.timeout(order.timeout):
                program = await self._buildx(folder)
                code = await buildx.run([*program, *arguments], variables, progress.feed)
        except TimeoutError as error:
            raise _too_slow(order, progress) from error
        except FileNotFoundError as error:
            raise _builder_missing() from error
        progress.feed("", last=True)
        if code != 0:
            raise await _failure(progress)
        return id_file.read_text("ascii").strip()

    def _variables(self, recipe: Recipe, folder: Path) -> Mapping[str, str]:
        if self._isolated:
            return buildx.isolated_environment(self._engine, folder / "buildx")
        return buildx.environment(recipe, self._engine, folder / "buildx")

    async def _buildx(self, folder: Path) -> Sequence[str]:
        """The words that run buildx; asked for once, and again when it isn't there any more."""
        if not self._program or not shutil.which(self._program[0]):
            # An engine that isn't trusted isn't asked: with the question come headers of our configuration.
            engine = NO_ENGINE if self._isolated else self._engine
            self._program = await buildx.program(buildx.environment(Recipe(), engine, folder))
        return self._program

    def labels(self, order: BuildOrder) -> Mapping[str, str]:
        """What the image of this order bears. Raises `Fault`, as `build` does, without a Dockerfile."""
        dockerfile = _text(locate(order.tree, order.recipe))
        return self._images.labels(with_commit(order, dockerfile), dockerfile)

    async def name(self, image: str, order: BuildOrder) -> None:
        """Make an image that is there the one of this order."""
        await self._images.name(image, order)

    # The machine.

    async def free_bytes(self) -> int | None:
        """What is free on the disk on which the engine keeps images; None where that can't be told from
        here, because the engine is on another machine."""
        if not self._engine.startswith("unix:"):
            return None
        if self._root is None:
            with engine_errors():
                self._root = Path((await self._docker.system.info())["DockerRootDir"])
        try:
            return shutil.disk_usage(self._root).free
        except OSError:  # such as Docker Desktop's, which is in a virtual machine
            return None

    async def prune_cache(self) -> int:
        """Have the engine forget the build cache that was used longest ago, down to the limit. Returns the
        bytes that became free; no effect without a limit."""
        if self._cache_limit is None:
            return 0
        wanted = {"keep-storage": str(self._cache_limit), "all": "1"}
        with engine_errors():
            answer = await self._docker._query_json("build/prune", method="POST", params=wanted)  # noqa: SLF001
        return int(answer.get("SpaceReclaimed") or 0)

    async def _check_room(self) -> None:
        free = await self.free_bytes()
        if free is not None and free < self._disk_floor:
            raise Fault(
                f"Too little room to build: {gigabytes(free)} are free on Docker's disk, and "
                f"{gigabytes(self._disk_floor)} have to be.",
                hint="`docker system df` tells what takes it; `docker builder prune` frees some.",
                reason="disk-full",
            )

    async def _check_cgroup(self, say: Say) -> None:
        if not self._cgroup_parent:
            return
        with engine_errors():
            version = str((await self._docker.version())["Version"])
        if int(version.partition(".")[0] or 0) < HONOURS_CGROUPS:
            say(f"WARNING: Docker {version} doesn't heed {self._cgroup_parent}: this build has no limits")

    @contextmanager
    def noted(self, key: str) -> Iterator[None]:
        """Keep `sweep` from the image of this key while the block lasts."""
        self._building[key] += 1
        try:
            yield
        finally:
            self._building -= Counter([key])


def with_commit(order: BuildOrder, dockerfile: str) -> BuildOrder:
    """The order with its commit among the build arguments, where the Dockerfile declares one for it and the
    recipe doesn't give that.

    Args:
        dockerfile: its text.
    """
    wanted = dict.fromkeys(sorted(declared(dockerfile) & COMMIT_ARGUMENTS), order.sha)
    if not wanted:
        return order
    return replace(order, recipe=replace(order.recipe, arguments={**wanted, **order.recipe.arguments}))


def _text(context: Context) -> str:
    """The Dockerfile's text, as far as it is looked at here."""
    with context.dockerfile.open("rb") as file:
        return file.read(LONGEST_DOCKERFILE).decode("utf-8", "replace")


def masking(recipe: Recipe) -> Callable[[str], str]:
    """What puts `***` in the place of secrets, and of each of their lines."""
    lines = {line.strip() for value in recipe.secrets.values() for line in value.splitlines()}
    hidden = sorted((line for line in lines if len(line) >= SHORTEST_MASKED), key=len, reverse=True)
    if not hidden:
        return str
    pattern = re.compile("|".join(re.escape(line) for line in hidden))
    return lambda text: pattern.sub("***", text)


async def _failure(progress: Progress) -> StagerError:
    step, complaint = progress.failed, progress.complaint
    if step is None and AWAY.search(complaint):
        return _engine_away(complaint)
    if step is None and "rawjson" in complaint:
        return _builder_missing("The `docker buildx` here is too old: it can't tell how a build goes on.")
    if step is None and not await buildx.is_there():
        return _builder_missing()
    words = f"{step.error if step else complaint}\n{progress.last_lines}"
    return Fault(
        failure_causes.sentence(step, complaint),
        hint=failure_causes.likely_cause(step, words),
        reason="build-failed",
        detail=progress.last_lines,
    )


def _too_slow(order: BuildOrder, progress: Progress) -> Fault:
    at = f", at {progress.current}" if progress.current else ""
    return Fault(
        f"Building was given up after {order.timeout:g} seconds{at}.",
        hint="Copy the lists of dependencies first and install them, so that they stay in the cache; or "
        "allow builds more time in the configuration.",
        reason="build-too-slow",
        detail=progress.last_lines,
    )


def _builder_missing(
    message: str = "There is no `docker buildx` here, and so nothing can be built.",
) -> Fault:
    return Fault(
        message,
        hint="Install your distribution's package docker-buildx, or docker-buildx-plugin from Docker's own; "
        "`docker buildx version` has to answer Stager's user.",
        reason="builder-missing",
    )


def _engine_away(why: str) -> Retry:
    return Retry(
        "Docker stopped answering while it built.",
        hint="Is it running? `docker version` tells.",
        reason="engine-away",
        detail=why,
    )


def gigabytes(count: int) -> str:
    """Bytes, for people."""
    return f"{count / 1e9:.1f} GB"
