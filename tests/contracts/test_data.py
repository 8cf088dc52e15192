"""Snapshots, clones and workbenches. Each test runs against memory, copies in a folder, and the data pool."""

from __future__ import annotations

import asyncio
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.environment import Instance, InstanceState
from stager.domain.errors import Fault, Refused, Retry, StagerError
from stager.ports.data import StorageKind, VolumeKey
from stager.ports.engine import Clone
from tests.contracts.data import DataUnderTest, cloned

BASE = VolumeKey("e1", "data")


async def started(storage: DataUnderTest, environment: str = "e1", **files: str) -> Instance:
    """An instance with these files in its kept volume."""
    instance = await storage.instances.create(await storage.spec("runs", environment))
    instance = await storage.instances.start(instance.id)
    for name, text in files.items():
        await storage.write(instance, name, text)
    return instance


async def clone_of(
    storage: DataUnderTest, snapshot: str, environment: str = "e2", generation: int = 1, *without: str
) -> Instance:
    """A running instance whose volume is a clone."""
    spec = cloned(await storage.spec("runs", environment, generation), snapshot, *without)
    return await storage.instances.start((await storage.instances.create(spec)).id)


async def saved(storage: DataUnderTest, snapshot: str = "s1", **files: str) -> Instance:
    """A stopped instance whose volume was saved."""
    base = await started(storage, **files)
    assert await storage.instances.stop(base.id) == 0
    await storage.data.save(snapshot, {"data": BASE})
    return base


class TestStop:
    async def test_returns_the_exit_code_and_leaves_the_instance(self, storage: DataUnderTest) -> None:
        base = await started(storage)

        assert await storage.instances.stop(base.id) == 0
        [found] = await storage.instances.find("e1")
        assert (found.id, found.state, found.exit_code) == (base.id, InstanceState.STOPPED, 0)
        assert await storage.instances.stop(base.id) == 0
        assert (await storage.instances.start(base.id)).state is InstanceState.RUNNING

    async def test_returns_the_code_of_an_unclean_end(self, storage: DataUnderTest) -> None:
        made = await storage.instances.create(await storage.spec("stops-unclean"))
        await storage.instances.start(made.id)
        await asyncio.sleep(0.3)  # until the program handles the signal

        assert await storage.instances.stop(made.id) == 7

    async def test_of_a_removed_one_fails(self, storage: DataUnderTest) -> None:
        base = await started(storage)
        await storage.instances.remove(base.id)

        with pytest.raises(Retry) as caught:
            await storage.instances.stop(base.id)
        assert caught.value.reason == "instance-gone"


class TestClones:
    async def test_have_the_files_of_the_snapshot_and_are_apart(self, storage: DataUnderTest) -> None:
        base = await saved(storage, name="ann", city="Bern")
        await storage.instances.start(base.id)
        one, two = await clone_of(storage, "s1"), await clone_of(storage, "s1", "e3")
        assert await storage.files(one) == await storage.files(two) == {"name": "ann", "city": "Bern"}

        await storage.write(one, "name", "bob")
        await storage.write(base, "name", "eve")
        assert await storage.files(two) == {"name": "ann", "city": "Bern"}
        assert await storage.files(one) == {"name": "bob", "city": "Bern"}
        assert await storage.files(base) == {"name": "eve", "city": "Bern"}
        assert await storage.files(await clone_of(storage, "s1", "e4")) == {"name": "ann", "city": "Bern"}

    async def test_are_made_once(self, storage: DataUnderTest) -> None:
        await saved(storage, name="ann")
        one = await clone_of(storage, "s1")
        await storage.write(one, "name", "bob")
        await storage.instances.remove(one.id)

        assert await storage.files(await clone_of(storage, "s1")) == {"name": "bob"}
        assert await storage.files(await clone_of(storage, "s1", generation=2)) == {"name": "ann"}

    async def test_are_made_once_for_two_services(self, storage: DataUnderTest) -> None:
        await saved(storage, name="ann")
        specs = [cloned(await storage.spec("runs", "e2"), "s1") for _ in range(2)]
        specs[1] = replace(specs[1], labels=replace(specs[1].labels, service="worker"))
        both = await asyncio.gather(*map(storage.instances.create, specs))
        one, two = [await storage.instances.start(each.id) for each in both]

        await storage.write(one, "name", "bob")
        assert await storage.files(two) == {"name": "bob"}

    async def test_lack_what_is_left_out(self, storage: DataUnderTest) -> None:
        await saved(storage, **{"name": "ann", "lock.pid": "7", "z": "last"})

        clone = await clone_of(storage, "s1", "e2", 1, "lock.pid", "not-there")
        assert await storage.files(clone) == {"name": "ann", "z": "last"}
        assert await storage.files(await clone_of(storage, "s1", "e3")) == {
            "name": "ann",
            "lock.pid": "7",
            "z": "last",
        }

    async def test_of_a_missing_snapshot_arent_made(self, storage: DataUnderTest) -> None:
        spec = cloned(await storage.spec("runs"), "s1")
        with pytest.raises(Fault) as caught:
            await storage.instances.create(spec)

        assert caught.value.reason == "snapshot-missing"
        assert await storage.instances.find("e1") == []
        assert await storage.instances.volumes("e1") == []

    async def test_of_a_missing_part_arent_made(self, storage: DataUnderTest) -> None:
        await saved(storage, name="ann")
        spec = cloned(await storage.spec("runs", "e2"), "s1")
        spec = replace(spec, clones={"data": Clone("s1", "uploads")})
        with pytest.raises(Fault) as caught:
            await storage.instances.create(spec)

        assert caught.value.reason == "snapshot-missing"

    async def test_outlive_the_snapshot(self, storage: DataUnderTest) -> None:
        await saved(storage, name="ann")
        clone = await clone_of(storage, "s1")
        await storage.data.remove("s1")
        await storage.data.remove("s1")

        assert await storage.files(clone) == {"name": "ann"}
        assert await storage.data.snapshots() == {}
        assert await storage.data.sizes("s1") == {}

    async def test_are_removed_with_their_generation(self, storage: DataUnderTest) -> None:
        await saved(storage, name="ann")
        one, two = await clone_of(storage, "s1"), await clone_of(storage, "s1", generation=2)
        await storage.instances.remove(one.id)
        await storage.instances.sweep({"e1": [0], "e2": [0]})

        assert [(v.name, v.generation) for v in await storage.instances.volumes("e2")] == [("data", 2)]
        assert await storage.files(two) == {"name": "ann"}
        assert await storage.data.sweep() == 0

    async def test_how_much_changed_is_known_in_a_pool_only(self, storage: DataUnderTest) -> None:
        await saved(storage, name="ann")
        clone = await clone_of(storage, "s1")
        before = await storage.data.changed("e2")
        await storage.write(clone, "more", "x" * 100_000)
        after = await storage.data.changed("e2")

        if (await storage.data.status()).storage is StorageKind.POOL:
            assert set(before) == set(after) == {VolumeKey("e2", "data", 1)}
        else:
            assert (before, after) == ({}, {})


class TestSnapshots:
    async def test_of_a_running_instance_is_refused(self, storage: DataUnderTest) -> None:
        base = await started(storage, name="ann")
        with pytest.raises(Refused) as caught:
            await storage.data.save("s1", {"data": BASE})

        assert (caught.value.reason, caught.value.status) == ("volume-in-use", 409)
        assert await storage.data.snapshots() == {}
        assert await storage.files(base) == {"name": "ann"}
        await storage.instances.stop(base.id)
        assert set(await storage.data.save("s1", {"data": BASE})) == {"data"}

    async def test_of_a_missing_volume_fails(self, storage: DataUnderTest) -> None:
        with pytest.raises(Fault) as caught:
            await storage.data.save("s1", {"data": BASE})

        assert caught.value.reason == "volume-missing"

    async def test_all_volumes_or_none_are_saved(self, storage: DataUnderTest) -> None:
        await saved(storage, "s0", name="ann")
        with pytest.raises(StagerError):
            await storage.data.save("s1", {"data": BASE, "uploads": VolumeKey("e1", "uploads")})

        assert set(await storage.data.snapshots()) == {"s0"}

    async def test_are_never_replaced(self, storage: DataUnderTest) -> None:
        base = await saved(storage, name="ann")
        await storage.instances.start(base.id)
        await storage.write(base, "name", "bob")
        await storage.instances.stop(base.id)
        with pytest.raises(Refused) as caught:
            await storage.data.save("s1", {"data": BASE})

        assert caught.value.reason == "snapshot-exists"
        assert await storage.files(await clone_of(storage, "s1")) == {"name": "ann"}

    async def test_have_sizes_and_records(self, storage: DataUnderTest) -> None:
        await saved(storage, name="ann" * 1000)
        assert await storage.data.snapshots() == {"s1": ""}
        await storage.data.record("s1", '{"app": "shop"}')
        await storage.data.record("s1", '{"app": "shöp"}')

        assert await storage.data.snapshots() == {"s1": '{"app": "shöp"}'}
        sizes = await storage.data.sizes("s1")
        assert set(sizes) == {"data"}
        assert sizes["data"] >= 3000
        await storage.data.remove("s1")
        assert await storage.data.snapshots() == {}

    async def test_a_clone_can_be_saved(self, storage: DataUnderTest) -> None:
        await saved(storage, name="ann")
        clone = await clone_of(storage, "s1")
        await storage.write(clone, "more", "rows")
        await storage.instances.stop(clone.id)
        await storage.data.save("s2", {"data": VolumeKey("e2", "data", 1)})
        await storage.data.remove("s1")

        assert await storage.files(await clone_of(storage, "s2", "e3")) == {"name": "ann", "more": "rows"}

    async def test_are_exported_as_an_archive(self, storage: DataUnderTest) -> None:
        await saved(storage, name="ann")
        exported = b"".join([piece async for piece in storage.data.export("s1", "data")])
        with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
            file = archive.extractfile("volume/name")
            assert file
            assert file.read() == b"ann"
            assert all(name.split("/")[0] == "volume" for name in archive.getnames())
        assert await storage.data.sweep() == 0

    async def test_may_be_exported_in_part(self, storage: DataUnderTest) -> None:
        base = await started(storage, name="ann")
        for number in range(5):
            await storage.write(base, f"file{number}", "x" * 100_000)
        await storage.instances.stop(base.id)
        await storage.data.save("s1", {"data": BASE})
        archive = storage.data.export("s1", "data")
        assert await anext(archive)
        await archive.aclose()  # type: ignore[attr-defined]

        assert await storage.data.sweep() == 0
        await storage.data.remove("s1")

    async def test_that_are_missing_arent_exported(self, storage: DataUnderTest) -> None:
        with pytest.raises(Fault) as caught:
            await anext(storage.data.export("s1", "data"))

        assert caught.value.reason == "snapshot-missing"


class TestWorkbench:
    async def test_changes_a_copy_that_can_be_saved(self, storage: DataUnderTest, tmp_path: Path) -> None:
        await saved(storage, "raw", name="ann", city="Bern")
        await storage.workbench.open("b1", {"data": Clone("raw", "data")})
        spec = await storage.spec("runs")
        ran = await storage.workbench.run("b1", spec, None, storage.scripts["mask"], {}, 30.0)
        assert ran.exit_code == 0
        await storage.data.save("s1", {"data": VolumeKey("b1", "data")})
        await storage.workbench.close("b1")
        await storage.workbench.close("b1")

        assert await storage.files(await clone_of(storage, "s1")) == {"name": "masked", "city": "Bern"}
        assert await storage.files(await clone_of(storage, "raw", "e3")) == {"name": "ann", "city": "Bern"}
        assert {each.environment for each in await storage.instances.find()} == {"e1", "e2", "e3"}
        assert await storage.data.sweep() == 0

    async def test_loads_a_file_into_an_empty_volume(self, storage: DataUnderTest, tmp_path: Path) -> None:
        dump = tmp_path / "shop.sql"
        dump.write_text("insert ünto")
        dump.chmod(0o600)
        await storage.workbench.open("b1", {"data": None})
        spec = await storage.spec("runs")
        files = {"/tmp/dump": dump}
        ran = await storage.workbench.run("b1", spec, None, storage.scripts["load"], files, 30.0)
        assert ran.exit_code == 0, ran.output
        await storage.data.save("s1", {"data": VolumeKey("b1", "data")})
        await storage.workbench.close("b1")

        assert await storage.files(await clone_of(storage, "s1")) == {"loaded": "insert ünto"}

    async def test_reports_a_script_that_fails(self, storage: DataUnderTest) -> None:
        await storage.workbench.open("b1", {"data": None})
        ran = await storage.workbench.run(
            "b1", await storage.spec("runs"), None, storage.scripts["fail"], {}, 30.0
        )
        await storage.workbench.close("b1")

        assert (ran.exit_code, ran.output) == (3, "no such column\n")

    async def test_reports_a_service_that_ends(self, storage: DataUnderTest) -> None:
        await storage.workbench.open("b1", {"data": None})
        with pytest.raises(Fault) as caught:
            await storage.workbench.run(
                "b1", await storage.spec("exits"), None, storage.scripts["mask"], {}, 30.0
            )
        await storage.workbench.close("b1")

        assert caught.value.reason == "workbench-unhealthy"
        assert "no such table" in caught.value.detail

    async def test_reports_an_unclean_stop(self, storage: DataUnderTest) -> None:
        await storage.workbench.open("b1", {"data": None})
        with pytest.raises(Fault) as caught:
            await storage.workbench.run(
                "b1", await storage.spec("stops-unclean"), None, storage.scripts["mask"], {}, 30.0
            )
        await storage.workbench.close("b1")

        assert caught.value.reason == "workbench-unclean"

    async def test_isnt_opened_without_its_snapshot(self, storage: DataUnderTest) -> None:
        with pytest.raises(Fault) as caught:
            await storage.workbench.open("b1", {"data": Clone("s1", "data")})
        await storage.workbench.close("b1")

        assert caught.value.reason == "snapshot-missing"
        assert await storage.data.sweep() == 0

    async def test_is_removed_after_a_restart(self, storage: DataUnderTest) -> None:
        await storage.workbench.open("b1", {"data": None, "uploads": None})
        assert await storage.data.sweep() == 0
        await storage.instances.sweep({})
        await storage.restarted()

        assert await storage.data.sweep() == 2
        assert await storage.data.sweep() == 0
        with pytest.raises(Fault) as caught:
            await storage.data.save("s1", {"data": VolumeKey("b1", "data")})
        assert caught.value.reason == "volume-missing"
