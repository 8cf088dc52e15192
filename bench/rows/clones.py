"""Clones of a database of 1 GB: from the call to the first query, by storage, and their space."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from bench import postgres
from bench.byhand import ByHand
from bench.figures import median, rounded, seconds, times
from bench.row import Chart, Figures, Line, Row
from bench.testbed import Testbed
from stager.domain import catalogue
from stager.domain.application import Container
from stager.domain.environment import Instance
from stager.domain.profile import Egress, Limits, profile_of
from stager.domain.service import ServiceSpec
from stager.engines.docker.data import DataHelper
from stager.helper_client import HelperClient
from stager.ports.clock import RandomIds
from stager.ports.data import VolumeKey
from stager.ports.engine import Clone, InstanceSpec
from tests.contracts.data import DockerDataUnderTest
from tests.contracts.engines import docker_under_test, instance_labels
from tests.integration.images import service_image
from tests.integration.own_pool import OwnPool, dockerd, why_not

GB, MB = 1 << 30, 1 << 20
POOL_SIZE = 8 * GB
ROUNDS, COPIED_ROUNDS = 7, 2
"""Clones that are measured; fewer where each is a full copy."""
SPACE_CLONES = 20
LIMITS = Limits(memory=1 << 30, cpus=2.0, pids=200, log_size=1 << 20)
LIMIT, SPACE_LIMIT, POOL_LIMIT = 1.3, 20.0, 3072.0
"""The budgets: a ratio, MB of a clone after its first write, MB of the base and 20 clones."""
SNAPSHOT, PART = "s1", "db-data"

KINDS = {"loop": "XFS in a file", "xfs": "XFS", "btrfs": "btrfs", "copy": "ext4, a plain copy"}


@dataclass(frozen=True, slots=True)
class Place:
    """A kind of storage.

    Args:
        helper: of the pool; without a client if there is none.
        pool: None if there is none.
        by_hand: a folder for clones by hand, on the same file system.
    """

    helper: DataHelper
    pool: OwnPool | None
    by_hand: Path


@contextlib.asynccontextmanager
async def place_for(kind: str, folder: Path, size: int = POOL_SIZE) -> AsyncIterator[Place]:
    """A storage for as long as the block lasts.

    Args:
        kind: one of `KINDS`.
        folder: an empty one.
        size: bytes of a pool in a file.
    """
    if kind == "copy":
        yield Place(DataHelper(), None, folder)
        return
    with _own_pool(kind) as pool:
        await pool.call("init", bytes=size, reserve=False)
        by_hand = pool.pool / "by_hand"
        pool.path(by_hand).mkdir()
        yield Place(DataHelper(HelperClient(pool.socket), ""), pool, by_hand)


@contextlib.contextmanager
def _own_pool(kind: str) -> Iterator[OwnPool]:
    """A helper that mounts its pool where dockerd is."""
    pool = OwnPool(process=dockerd())
    outer = pool.folder / "outer"
    try:
        pool.boot()
        outer.mkdir(mode=0o755)
        if kind != "loop":
            _mount(pool, kind, outer)
        pool.start()
        yield pool
    finally:
        pool.clean_up()


def _mount(pool: OwnPool, kind: str, point: Path) -> None:
    disk = pool.folder / "disk"
    disk.touch()
    os.truncate(disk, POOL_SIZE)
    pool.run(f"mkfs.{kind}", "-q", "-f", str(disk))
    pool.run("mount", "-t", kind, "-o", "loop,noatime", str(disk), str(point))


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each clone to its first query, and MB that clones take."""
    if reason := why_not("mkfs.btrfs"):
        raise SystemExit(f"the row `clones` can't be measured: {reason}")
    return asyncio.run(_measure(testbed.folder))


async def _measure(folder: Path) -> dict[str, Any]:
    taken, space = {}, {}
    for kind in KINDS:
        kind_folder = folder / kind
        kind_folder.mkdir()
        async with place_for(kind, kind_folder) as place, docker_under_test(RandomIds().new()) as engine:
            databases = Databases(DockerDataUnderTest(engine, kind_folder / "snapshots", place.helper), place)
            await databases.prepare()
            taken[kind] = await databases.compared(COPIED_ROUNDS if kind == "copy" else ROUNDS)
            if kind == "loop":
                space = await databases.space()
    return {"taken": taken, "space": space, "clones": SPACE_CLONES}


class Databases:
    """Clones of one database on one kind of storage."""

    def __init__(self, storage: DockerDataUnderTest, place: Place) -> None:
        self._storage, self._place = storage, place

    async def prepare(self) -> None:
        """Create the database, stop it cleanly, and take the snapshot."""
        instance = await self._started("base", with_clone=False)
        await self._storage.run(instance, postgres.PREPARE)
        assert await self._storage.instances.stop(instance.id) == 0
        await self._storage.data.save(SNAPSHOT, {PART: VolumeKey("base", PART)})
        if self._place.pool is not None:
            await self._storage.instances.remove(instance.id)
            await self._storage.instances.sweep({})

    async def compared(self, rounds: int) -> dict[str, list[float]]:
        """Seconds to the first query, by hand and with Stager, in turn."""
        taken: dict[str, list[float]] = {"floor": [], "stager": []}
        async with ByHand() as hand:
            for number in range(-1, rounds):  # the first is for warming up
                took = {
                    "floor": await self._by_hand(hand),
                    "stager": await self._with_stager(f"c{number + 1}"),
                }
                if number >= 0:
                    taken = {who: [*taken[who], value] for who, value in took.items()}
        return {who: rounded(values, 4) for who, values in taken.items()}

    async def _by_hand(self, hand: ByHand) -> float:
        """`cp`, then a container, by the same calls as Stager's."""
        source, target = await self._source(), self._place.by_hand / "data"
        pool = self._place.pool
        reached = pool.path(target) if pool else target
        spec = await self._spec("hand", with_clone=False)
        mount = {"Type": "bind", "Source": str(target), "Target": spec.container.mounts[0].target}
        reflink = "always" if pool else "never"
        begun = perf_counter()
        copying = await asyncio.create_subprocess_exec(
            "cp", "-a", f"--reflink={reflink}", str(source), str(reached)
        )
        assert await copying.wait() == 0
        (reached / "postmaster.pid").unlink(missing_ok=True)
        await postgres.answer(await hand.start(replace(spec, container=Container()), [mount]))
        took = perf_counter() - begun
        await hand.remove()
        shutil.rmtree(reached)
        return took

    async def _source(self) -> Path:
        if self._place.pool is not None:
            pool = self._place.pool
            [source] = pool.path(pool.pool).glob(f"*/snapshots/{SNAPSHOT}/{PART}")
            return source
        name = f"stager-{self._storage.engine.installation}-base-0-{PART}"
        shown = await (await self._storage.engine.docker.volumes.get(name)).show()
        return Path(shown["Mountpoint"])

    async def _with_stager(self, environment: str) -> float:
        begun = perf_counter()
        instance = await self._started(environment)
        took = perf_counter() - begun
        await self._storage.instances.remove(instance.id)
        await self._storage.instances.sweep({"base": [0]})
        return took

    async def space(self) -> dict[str, float]:
        """MB of the base, and of clones after the first write of each."""
        base = await self._used()
        names = [f"s{number}" for number in range(SPACE_CLONES)]
        for name in names:
            instance = await self._started(name)
            await postgres.answer(_address(instance), postgres.UPDATE)
            await self._storage.instances.stop(instance.id)
        used = await self._used()
        return {"base": base, "clone": round((used - base) / SPACE_CLONES, 1), "all": used}

    async def _used(self) -> float:
        assert self._place.pool is not None
        os.sync()
        used: int = (await self._place.pool.call("status"))["used"]
        return round(used / MB, 1)

    async def _started(self, environment: str, *, with_clone: bool = True) -> Instance:
        """A clone that has answered its first query, or the base, which has no tables yet."""
        instances = self._storage.instances
        created = await instances.create(await self._spec(environment, with_clone=with_clone))
        instance = await instances.start(created.id)
        if with_clone:
            await postgres.answer(_address(instance))
        else:
            # The server that only initializes listens on no address.
            wait = "until pg_isready -qh 127.0.0.1; do sleep 0.1; done"
            await instances.run(instance.id, ("sh", "-c", wait), 120.0)
        return instance

    async def _spec(self, environment: str, *, with_clone: bool = True) -> InstanceSpec:
        """A database as the catalogue completes it."""
        image = service_image("postgres")
        entry = catalogue.find(image)
        assert entry
        service = entry.complete(ServiceSpec("db", image=image))
        [mount] = service.mounts
        labels = instance_labels(environment, service="db")
        spec = InstanceSpec(
            labels,
            await self._storage.engine.images.resolve(image),
            Container(
                port=postgres.PORT,
                mounts=(mount,),
                stop_signal=service.stop_signal,
                stop_grace_period=service.stop_grace_period or 10.0,
            ),
            profile_of(labels.profile, LIMITS, Egress()),
            postgres.VARIABLES,
        )
        if not with_clone:
            return spec
        clone = Clone(SNAPSHOT, PART, catalogue.left_out(image, mount.target))
        return replace(spec, fresh_volumes=frozenset({mount.volume}), clones={mount.volume: clone})


def _address(instance: Instance) -> str:
    assert instance.endpoint is not None
    return instance.endpoint.address


def lines(figures: Figures) -> list[Line]:
    """One line for each kind of storage, and two for the space."""
    space, clones = figures["space"], figures["clones"]
    return [
        *(_line(KINDS[kind], taken) for kind, taken in figures["taken"].items()),
        Line(
            what="Disk space of a clone after its first write (XFS in a file)",
            floor="-",
            ours=f"{space['clone']:.1f} MB",
            budget=f"less than {SPACE_LIMIT:.0f} MB",
            value=space["clone"],
            limit=SPACE_LIMIT,
            headline=f"A clone of a database of 1 GB takes {space['clone']:.1f} MB after its first write",
        ),
        Line(
            what=f"The database and {clones} clones of it, after a write to each",
            floor="-",
            ours=f"{space['all']:.0f} MB",
            budget=f"at most {POOL_LIMIT:.0f} MB",
            value=space["all"],
            limit=POOL_LIMIT,
        ),
    ]


def _line(kind: str, taken: Mapping[str, list[float]]) -> Line:
    floor, ours = median(taken["floor"]), median(taken["stager"])
    return Line(
        what=f"From the call to a clone's first query: {kind}",
        floor=seconds(floor),
        ours=f"{seconds(ours)}, {times(ours / floor)}",
        budget=f"at most {times(LIMIT)}",
        value=ours / floor,
        limit=LIMIT,
        headline=f"A clone of a database of 1 GB ({kind}) answers its first query after {seconds(ours)}",
    )


def charts(figures: Figures) -> list[Chart]:
    """The medians with Stager on each kind of storage."""
    bars = [(KINDS[kind], median(taken["stager"])) for kind, taken in figures["taken"].items()]
    return [Chart("bench-clones", "A clone of 1 GB, to its first query", "s", bars)]


ABOUT = """\
The database is PostgreSQL 15 with 6 million rows of pgbench, about 0.9 GB, 1.7 GB on disk with its log. It
is stopped cleanly and taken as a snapshot. The floor copies the snapshot's folder by `cp -a
--reflink=always`, removes `postmaster.pid` and starts the same container with the copy, by the same calls of
Docker's API; on ext4, it copies by `cp -a`. Stager clones the snapshot through the root helper, and without
one through Docker's archive API. Both are asked for a count of rows every 5 ms until they answer. For the
space, each clone updates one row and is stopped.
"""

ROW = Row("clones", "Clones of a database", ABOUT.strip(), measure, lines, charts)
