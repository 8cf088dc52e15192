"""What only a real data pool shows: shared blocks, what was there before it, and what happens without it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stager.domain.errors import Fault, Retry
from stager.engines.docker import labels
from stager.engines.docker.data import DataHelper
from stager.engines.docker.data.names import volume_name
from stager.engines.docker.data.pool import Pool
from stager.helper_client import HelperClient
from stager.ports.clock import RandomIds
from stager.ports.data import StorageKind, VolumeKey
from stager.ports.engine import Clone
from tests.contracts.data import POOL_SIZE, DockerDataUnderTest, cloned, helper_beside_docker
from tests.contracts.engines import docker_under_test
from tests.contracts.test_data import BASE, clone_of, saved, started
from tests.integration.own_pool import OwnPool

pytestmark = pytest.mark.docker

MIB = 1 << 20


@pytest.fixture
def pool() -> Iterator[OwnPool]:
    with helper_beside_docker() as own:
        yield own


@pytest.fixture
async def storage(pool: OwnPool, tmp_path: Path) -> AsyncIterator[DockerDataUnderTest]:
    """A storage whose pool isn't created yet."""
    async with docker_under_test(RandomIds().new()) as engine:
        yield DockerDataUnderTest(engine, tmp_path / "snapshots", DataHelper(HelperClient(pool.socket), ""))


async def created(pool: OwnPool) -> None:
    await pool.call("init", bytes=POOL_SIZE, reserve=False)


async def used(storage: DockerDataUnderTest) -> int:
    """Bytes in the pool, once everything is written."""
    subprocess.run(["sync"], check=True)
    status = await storage.data.status()
    assert status.used is not None
    return status.used


async def volumes_of(storage: DockerDataUnderTest) -> set[str]:
    """The names of the installation's volumes in the pool."""
    return set(await Pool(storage.helper, storage.engine.installation, storage.folder / "x").volumes())


class TestClones:
    async def test_share_their_blocks(self, storage: DockerDataUnderTest, pool: OwnPool) -> None:
        await created(pool)
        base = await started(storage)
        await storage.run(base, "dd if=/dev/urandom of=/data/large bs=1M count=100 2>&1")
        await storage.instances.stop(base.id)
        before = await used(storage)
        await storage.data.save("s1", {"data": BASE})
        clones = [await clone_of(storage, "s1", f"c{number}") for number in range(4)]
        for clone in clones:
            await storage.run(clone, "printf changed | dd of=/data/large bs=1 seek=5000 conv=notrunc 2>&1")

        assert await used(storage) - before < 20 * MIB
        assert await used(storage) >= 100 * MIB
        assert (await storage.data.sizes("s1"))["data"] >= 100 * MIB
        [changed] = (await storage.data.changed("c0")).values()
        assert 0 < changed < MIB
        assert 0 < (await storage.instances.disk())["c0"] < 2 * MIB, "what it shares doesn't count"
        [volume] = await storage.instances.volumes("c0")
        assert volume.size is not None
        assert volume.size >= 100 * MIB

    async def test_are_complete_or_swept(
        self, storage: DockerDataUnderTest, pool: OwnPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await created(pool)
        await saved(storage, name="ann")

        async def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(storage.engine.docker.volumes, "create", killed)
            with pytest.raises(KeyboardInterrupt):
                await storage.instances.create(cloned(await storage.spec("runs", "e2"), "s1"))
        await storage.restarted()
        orphan = volume_name(storage.engine.installation, VolumeKey("e2", "data", 1))
        assert orphan in await volumes_of(storage)

        assert await storage.data.sweep() == 1
        assert orphan not in await volumes_of(storage)
        assert await storage.files(await clone_of(storage, "s1")) == {"name": "ann"}


class TestFromBefore:
    """Volumes and snapshots that are older than the pool."""

    async def test_volumes_are_saved_into_the_pool(self, storage: DockerDataUnderTest, pool: OwnPool) -> None:
        base = await started(storage, name="ann")
        assert (await storage.data.status()).storage is StorageKind.COPIES
        await storage.run(base, "chown 77:88 /data; chmod 2750 /data; ln -s /etc/passwd /data/link")
        await storage.instances.stop(base.id)
        await created(pool)
        assert (await storage.data.status()).storage is StorageKind.POOL
        await storage.data.save("s1", {"data": BASE})

        assert not (storage.folder / "s1").exists()
        clone = await clone_of(storage, "s1")
        assert (await storage.run(clone, "stat -c '%u:%g %a' /data; readlink /data/link")).split() == [
            "77:88",
            "2750",
            "/etc/passwd",
        ]
        assert await storage.files(await storage.instances.start(base.id)) == {"name": "ann"}
        assert volume_name(storage.engine.installation, BASE) not in await volumes_of(storage)
        assert await storage.data.sweep() == 0

    async def test_snapshots_are_cloned_into_the_pool(
        self, storage: DockerDataUnderTest, pool: OwnPool
    ) -> None:
        await saved(storage, "old", name="ann")
        await created(pool)
        clone = await clone_of(storage, "old")
        assert await storage.files(clone) == {"name": "ann"}
        await storage.instances.stop(clone.id)
        await storage.data.save("new", {"data": VolumeKey("e2", "data", 1)})

        assert set(await storage.data.snapshots()) == {"new", "old"}
        assert volume_name(storage.engine.installation, VolumeKey("e2", "data", 1)) in await volumes_of(
            storage
        )
        await storage.data.remove("old")
        assert await storage.files(await clone_of(storage, "new", "e3")) == {"name": "ann"}


class TestWithoutPool:
    async def test_nothing_is_created_elsewhere(self, storage: DockerDataUnderTest, pool: OwnPool) -> None:
        await created(pool)
        await saved(storage, name="ann")
        clone = await clone_of(storage, "s1")
        await storage.instances.stop(clone.id)
        hide(pool)
        try:
            for call in (
                storage.data.status(),
                storage.data.snapshots(),
                storage.data.save("s2", {"data": BASE}),
                storage.instances.create(await storage.spec("runs", "e3")),
                storage.workbench.open("b1", {"data": Clone("s1", "data")}),
            ):
                with pytest.raises(Retry) as caught:
                    await call
                assert caught.value.reason == "data-away"
            with pytest.raises((Fault, Retry)):
                await storage.instances.start(clone.id)
            below = pool.path(pool.pool)
            assert list(below.iterdir()) == [] if below.exists() else True
        finally:
            show(pool)

        assert await storage.files(await storage.instances.start(clone.id)) == {"name": "ann"}
        assert set(await storage.data.snapshots()) == {"s1"}

    async def test_a_helper_that_is_away_is_waited_for(
        self, storage: DockerDataUnderTest, pool: OwnPool
    ) -> None:
        await created(pool)
        await saved(storage, name="ann")
        pool.kill9()
        with pytest.raises(Retry) as caught:
            await storage.instances.create(cloned(await storage.spec("runs", "e2"), "s1"))
        assert caught.value.reason == "helper-away"
        pool.start()

        assert await storage.files(await clone_of(storage, "s1")) == {"name": "ann"}

    async def test_snapshots_arent_taken_for_lost(self, storage: DockerDataUnderTest, pool: OwnPool) -> None:
        await created(pool)
        await saved(storage, name="ann")
        await storage.data.record("s1", "{}")
        storage.helper = DataHelper(None, "There is no root helper.")
        await storage.restarted()

        with pytest.raises(Retry) as caught:
            await storage.data.snapshots()
        assert caught.value.reason == "data-away"


class TestFullPool:
    async def test_stops_before_it_is_full(self, storage: DockerDataUnderTest, pool: OwnPool) -> None:
        await created(pool)
        base = await saved(storage, name="ann")
        large = pool.path(pool.pool / "large")
        status = await storage.data.status()
        assert status.available
        subprocess.run(["fallocate", "--length", str(status.available - 8 * MIB), str(large)], check=True)
        for call in (
            storage.instances.create(cloned(await storage.spec("runs", "e2"), "s1")),
            storage.instances.create(await storage.spec("runs", "e3")),
            storage.data.save("s2", {"data": BASE}),
            storage.workbench.open("b1", {"data": Clone("s1", "data")}),
        ):
            with pytest.raises(Fault) as caught:
                await call
            assert caught.value.reason == "data-full"
        await storage.workbench.close("b1")
        assert set(await storage.data.snapshots()) == {"s1"}
        base = await storage.instances.start(base.id)
        assert await storage.files(base) == {"name": "ann"}
        large.unlink()

        assert await storage.files(await clone_of(storage, "s1")) == {"name": "ann"}
        ours = f"label={labels.INSTALLATION}={storage.engine.installation}"
        listed = subprocess.run(
            ["docker", "volume", "ls", "-q", "--filter", ours], capture_output=True, text=True, check=True
        )
        assert set(listed.stdout.split()) == await volumes_of(storage)


def hide(pool: OwnPool) -> None:
    """Unmount the pool, and let its file be missing."""
    pool.stop()
    pool.unmount()
    file = pool.path(pool.data / "pool.xfs")
    file.rename(file.with_suffix(".away"))
    pool.start()


def show(pool: OwnPool) -> None:
    pool.stop()
    file = pool.path(pool.data / "pool.xfs")
    file.with_suffix(".away").rename(file)
    pool.start()
