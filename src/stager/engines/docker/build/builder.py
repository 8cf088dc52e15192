"""Builds images from source trees with Docker's BuildKit, through `docker buildx`.

The Engine API can build as well, but not with secrets: those need a session, which buildx opens.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import aiodocker
import structlog

from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.leftovers import Leftover, LeftoverKind
from stager.domain.recipe import Recipe
from stager.domain.text import binary_size, masking
from stager.engines.docker.build import buildx, failure_causes
from stager.engines.docker.build.build_context import Context, locate
from stager.engines.docker.build.built_images import BuiltImages, facts
from stager.engines.docker.build.progress import Progress
from stager.engines.docker.client import engine_errors, request_json
from stager.ports.builder import BuildOrder, ImageFacts, Say
from stager.project.dockerfile import base_arguments, declared

log = structlog.get_logger(__name__)

AWAY = re.compile(
    r"Cannot connect to the Docker daemon|error during connect|\bUnavailable: |code = Unavailable|"
    r"error reading from server: EOF|transport is closing"
)
"""Output for an engine that went away: of `docker` itself, and gRPC's code as different releases of BuildKit
print it, https://grpc.io/docs/guides/status-codes/."""

NO_ENGINE = "unix:///dev/null"
"""An address without an engine."""

COMMIT_ARGUMENTS = frozenset({"STAGER_SHA", "SOURCE_COMMIT"})
"""Build arguments with the commit: named like the variable of instances, and as on hosting platforms."""

HONOURS_CGROUPS = 23
"""The first Docker release whose BuildKit supports a parent cgroup for steps; 20.10 doesn't."""


class BuildxBuilder:
    """See `ports.builder.Builder`.

    Args:
        engine: the engine's address, the same that `docker` is connected to.
        installation: the installation's id, for names and labels.
        disk_floor: bytes that must be free on the engine's disk before a build starts.
        cgroup_parent: an existing cgroup whose limits apply to the build's steps; empty for the engine's own.
            Needs Docker 23 or later.
        cache_limit: bytes of build cache that `prune_cache` keeps; None doesn't prune. The cache is shared
        with other users of the engine.
        isolated: whether the engine is untrusted: it then gets nothing of Stager's environment and Docker
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
        self._images = BuiltImages(docker, installation)
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
        """See `Builder.sweep`. The build cache is pruned to its limit, too."""
        removed = await self._images.sweep(keep, self._building.keys())
        if freed := await self.prune_cache():
            log.info("build_cache_pruned", bytes=freed)
        return removed

    async def leftovers(self, keep: Collection[str]) -> list[Leftover]:
        """See `Builder.leftovers`."""
        images = await self._images.leftovers(keep, self._building.keys())
        cache = await self._excess_cache()
        return [*images, *([cache] if cache else [])]

    async def _excess_cache(self) -> Leftover | None:
        """The build cache beyond its limit; None if there is none, or no limit."""
        if self._cache_limit is None:
            return None
        with engine_errors():
            shown = await request_json(self._docker, "system/df")
        records = shown.get("BuildCache") or ()
        size = sum(each["Size"] for each in records if not each.get("Shared"))
        excess = size - self._cache_limit
        if excess <= 0:
            return None
        why = f"the least recently used part of {binary_size(size)}; `builds.cache_size` is " + binary_size(
            self._cache_limit
        )
        return Leftover(LeftoverKind.BUILD_CACHE, "build cache", why, size=excess)

    async def build(self, order: BuildOrder, say: Say) -> str:
        """See `Builder.build`. Values of secrets are masked in the log."""
        context = await asyncio.to_thread(locate, order.tree, order.recipe)
        await self._check_room()
        await self._check_cgroup(say)
        with self.protected(order.key), tempfile.TemporaryDirectory(prefix="stager-build-") as folder:
            image = await self._run(order, context, Path(folder), say)
            return str((await self._images.inspect(image))["Id"])

    async def _run(self, order: BuildOrder, context: Context, folder: Path, say: Say) -> str:
        id_file = folder / "image"
        context = context.written(folder)
        for line in context.note_lines:
            say(line)
        order = with_commit(replace(order, recipe=context.ordered(order.recipe)), context.text)
        arguments = buildx.command(
            context,
            order.recipe,
            labels=self._images.labels(order, context.text, context.health_path),
            tag="" if self._isolated else self._images.tag(order),
            id_file=id_file,
            cgroup_parent=self._cgroup_parent,
            untrusted=order.untrusted,
        )
        progress = Progress(say, masking(order.recipe.secrets.values()))
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
            raise await _failure(progress, base_arguments(context.text, order.recipe.arguments))
        return id_file.read_text("ascii").strip()

    def _variables(self, recipe: Recipe, folder: Path) -> Mapping[str, str]:
        if self._isolated:
            return buildx.isolated_environment(self._engine, folder / "buildx")
        return buildx.environment(recipe, self._engine, folder / "buildx")

    async def _buildx(self, folder: Path) -> Sequence[str]:
        """The command that runs buildx; cached while it exists."""
        if not self._program or not shutil.which(self._program[0]):
            # An untrusted engine isn't queried: the query would include headers of Docker's configuration.
            engine = NO_ENGINE if self._isolated else self._engine
            self._program = await buildx.program(buildx.environment(Recipe(), engine, folder))
        return self._program

    async def labels(self, order: BuildOrder) -> Mapping[str, str]:
        """The labels of this order's image. Raises `Fault`, as `build` does, without a Dockerfile."""
        context = await asyncio.to_thread(locate, order.tree, order.recipe)
        return self._images.labels(with_commit(order, context.text), context.text, context.health_path)

    async def name(self, image: str, order: BuildOrder) -> None:
        """Tag an existing image as this order's."""
        await self._images.name(image, order)

    # The machine.

    async def free_bytes(self) -> int | None:
        """Free bytes on the disk of the engine's images; None if unknown, because the engine is on another
        machine."""
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
        """Prune the least recently used build cache down to the limit. Returns the freed bytes; no effect
        without a limit."""
        if self._cache_limit is None:
            return 0
        wanted = {"keep-storage": str(self._cache_limit), "all": "1"}
        with engine_errors():
            answer = await request_json(self._docker, "build/prune", "POST", params=wanted)
        return int(answer.get("SpaceReclaimed") or 0)

    async def _check_room(self) -> None:
        free = await self.free_bytes()
        if free is not None and free < self._disk_floor:
            raise Fault(
                f"Not enough disk space to build: {gigabytes(free)} are free on Docker's disk, and "
                f"{gigabytes(self._disk_floor)} are required.",
                hint="`docker system df` shows what uses it; `docker builder prune` frees the build cache.",
                reason="disk-full",
            )

    async def _check_cgroup(self, say: Say) -> None:
        if not self._cgroup_parent:
            return
        with engine_errors():
            version = str((await self._docker.version())["Version"])
        if int(version.partition(".")[0] or 0) < HONOURS_CGROUPS:
            say(f"WARNING: Docker {version} ignores {self._cgroup_parent}: this build has no limits")

    @contextmanager
    def protected(self, key: str) -> Iterator[None]:
        """Protect the image of this key from `sweep` during the block."""
        self._building[key] += 1
        try:
            yield
        finally:
            self._building -= Counter([key])


def with_commit(order: BuildOrder, dockerfile: str) -> BuildOrder:
    """The order with its commit as a build argument, if the Dockerfile declares one for it and the recipe
    doesn't set it.

    Args:
        dockerfile: its text.
    """
    wanted = dict.fromkeys(sorted(declared(dockerfile) & COMMIT_ARGUMENTS), order.sha)
    if not wanted:
        return order
    return replace(order, recipe=replace(order.recipe, arguments={**wanted, **order.recipe.arguments}))


async def _failure(progress: Progress, bases: Mapping[str, str]) -> StagerError:
    """The error of a failed build.

    Args:
        bases: base images with the build arguments that choose them.
    """
    step, complaint = progress.failed, progress.complaint
    if step is None and AWAY.search(complaint):
        return _engine_away(complaint)
    if step is None and "rawjson" in complaint:
        return _builder_missing("The installed `docker buildx` is too old: it has no `--progress=rawjson`.")
    if step is None and not await buildx.is_installed():
        return _builder_missing()
    words = f"{step.error if step else complaint}\n{progress.last_lines}"
    return Fault(
        failure_causes.sentence(step, complaint),
        hint=failure_causes.likely_cause(step, words, bases),
        reason="build-failed",
        detail=progress.last_lines,
    )


def _too_slow(order: BuildOrder, progress: Progress) -> Fault:
    at = f", at {progress.current}" if progress.current else ""
    return Fault(
        f"The build exceeded its time limit of {order.timeout:g} seconds{at}.",
        hint="Install dependencies in an early step, so that they are cached; or raise the time limit in the "
        "configuration.",
        reason="build-too-slow",
        detail=progress.last_lines,
    )


def _builder_missing(
    message: str = "`docker buildx` isn't installed, so images can't be built.",
) -> Fault:
    return Fault(
        message,
        hint="Install your distribution's package docker-buildx, or docker-buildx-plugin from Docker; "
        "`docker buildx version` must work for Stager's user.",
        reason="builder-missing",
    )


def _engine_away(why: str) -> Retry:
    return Retry(
        "Docker stopped responding during the build.",
        hint="Check with `docker version` that it runs.",
        reason="engine-away",
        detail=why,
    )


def gigabytes(count: int) -> str:
    """A number of bytes in GB."""
    return f"{count / 1e9:.1f} GB"
