"""Snapshots: made from a preview, a dump or a command, masked, used for clones, kept, and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import time
from pathlib import Path

import pytest

from stager.control.data.package import Snapshotting
from stager.domain.application import Application
from stager.domain.environment import Environment, Instance, InstanceState
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.restore import restore_script
from stager.domain.service import Mount, ServiceCheck, ServiceSpec, VolumePolicy, generated
from stager.domain.snapshot import (
    CreateSnapshot,
    DataRules,
    FromCommand,
    FromDump,
    FromPreview,
    Schedule,
    Snapshot,
    SnapshotState,
    Source,
)
from stager.domain.source import Trust
from stager.domain.stack import StackDeclaration
from stager.domain.status import State
from stager.ports.data import StorageKind
from stager.ports.engine import Ran
from stager.testing import FakeData, Program
from stager.testing.fakes.program import Inner
from tests.unit.control.harness import ANN, SHOP, Harness

DB = ServiceSpec(
    "db",
    image="postgres:16",
    variables={"POSTGRES_PASSWORD": generated("DB")},
    provides={"DATABASE_URL": f"postgres://app:{generated('DB')}@db/app"},
    check=ServiceCheck(command=("pg_isready",)),
    mounts=(Mount("/var/lib/postgresql/data", volume="data"),),
)
POLICIES = {"data": VolumePolicy.CLONE}
WAIT = 600.0


def shop(rules: DataRules | None = None, *services: ServiceSpec, **policies: VolumePolicy) -> Application:
    declared = StackDeclaration(services or (DB,), volumes={**POLICIES, **policies})
    return replace(SHOP, declared=declared, data=rules or DataRules())


class DataHarness(Harness):
    """A harness with what tests of snapshots need."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for image in ("postgres:16", "postgres:17"):
            self.engine.add_image(image)

    @property
    def snapshotting(self) -> Snapshotting:
        return self.running.control_plane.data

    async def live(self, name: str) -> Environment:
        environment = await self.launch(name)
        await self.rest()
        assert (await self.status(environment)).state is State.LIVE
        return environment

    async def filled(self, name: str = "main", **files: str) -> Environment:
        """A live preview whose database has these files."""
        environment = await self.live(name)
        self.volume(environment).update(files or {"rows": "real"})
        return environment

    def instance(self, environment: Environment, service: str = "db") -> Instance:
        found = [i for i in self.engine.there(environment.id) if i.service == service]
        [newest] = [i for i in found if i.generation == max(i.generation for i in found)]
        return newest

    def volume(self, environment: Environment, name: str = "data", service: str = "db") -> dict[str, str]:
        """The files of a volume of the newest instance of a service."""
        spec = self.engine.spec(self.instance(environment, service).id)
        return self.data.files(environment.id, name, spec.number_of(name))

    def password(self, environment: Environment, service: str = "db") -> str:
        return self.engine.variables(self.instance(environment, service).id)["POSTGRES_PASSWORD"]

    async def create(self, source: Source, actor: Actor = ANN, **settings: object) -> Snapshot:
        """Make a snapshot, and wait until it is ready or has failed."""
        snapshots = self.snapshotting.snapshots
        begun = await snapshots.create(CreateSnapshot("shop", source, **settings), actor)  # type: ignore[arg-type]
        assert begun.state is SnapshotState.MAKING
        found = await snapshots.wait(begun.id, actor, WAIT)
        await self.rest(60)
        return found

    async def ready(self, source: Source, **settings: object) -> Snapshot:
        found = await self.create(source, ANN, **settings)
        assert found.problem is None
        assert found.state is SnapshotState.READY
        return found

    def saved(self, snapshot: Snapshot, volume: str = "data") -> dict[str, str]:
        return self.engine.stored.snapshots[snapshot.id][volume]

    def assert_no_leftovers(self, *snapshots: Snapshot) -> None:
        assert self.engine.stored.snapshots.keys() == {each.id for each in snapshots}
        assert self.data.benches == frozenset()
        assert not self.engine.stored.benches


@pytest.fixture
async def harness() -> AsyncIterator[DataHarness]:
    async with DataHarness([shop()]).open() as opened:
        yield opened


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_text("CREATE TABLE customers;")
    return path


class TestFromAPreview:
    async def test_the_next_preview_has_its_data_and_can_read_it(self, harness: DataHarness) -> None:
        first = await harness.filled()
        snapshot = await harness.ready(FromPreview(first.id), name="base")
        second = await harness.live("feature")

        assert harness.volume(second) == {"rows": "real"}
        assert harness.password(second) == harness.password(first)
        assert (snapshot.number, snapshot.name, snapshot.origin) == (1, "base", "preview main")
        assert snapshot.images == {"db": "postgres:16"}
        assert [(each.service, each.volume, each.size) for each in snapshot.volumes] == [("db", "data", 4)]
        assert "ann" in snapshot.created_by

    async def test_previews_never_see_each_others_changes(self, harness: DataHarness) -> None:
        first = await harness.filled()
        snapshot = await harness.ready(FromPreview(first.id))
        second = await harness.live("feature")
        harness.volume(second)["rows"] = "changed"

        assert harness.volume(first) == {"rows": "real"}
        assert harness.saved(snapshot) == {"rows": "real"}

    async def test_a_push_starts_from_a_new_clone_and_the_old_one_keeps_its_own(
        self, harness: DataHarness
    ) -> None:
        await harness.ready(FromPreview((await harness.filled()).id))
        second = await harness.live("feature")
        harness.volume(second)["rows"] = "changed"
        harness.engine.add_image("postgres:16", Program(inner={"pg_isready": Inner(exit_code=2)}))
        await harness.launch("feature")
        await harness.rest(10)

        old = next(i for i in harness.engine.there(second.id) if i.service == "db" and i.generation == 1)
        assert old.state is InstanceState.RUNNING
        assert harness.data.files(second.id, "data", 1) == {"rows": "changed"}
        assert harness.data.files(second.id, "data", 2) == {"rows": "real"}

    async def test_its_services_run_again_and_serve(self, harness: DataHarness) -> None:
        first = await harness.filled()
        before = harness.instance(first)
        await harness.ready(FromPreview(first.id))
        await harness.rest()

        after = harness.instance(first)
        assert (after.id, after.state) == (before.id, InstanceState.RUNNING)
        assert after.run != before.run
        assert (await harness.status(first)).state is State.LIVE

    async def test_it_is_never_copied_while_it_runs(self, harness: DataHarness) -> None:
        first = await harness.filled()
        harness.data.delays["save"] = 5
        creating = harness.snapshotting.snapshots
        begun = await creating.create(CreateSnapshot("shop", FromPreview(first.id)), ANN)
        await harness.rest(2)
        assert harness.instance(first).state is InstanceState.STOPPED
        await harness.launch("main")  # the worker waits until the copy is done
        await harness.rest(1)
        assert harness.instance(first).state is InstanceState.STOPPED

        assert (await creating.wait(begun.id, ANN, WAIT)).is_ready
        await harness.rest()
        assert (await harness.status(first)).state is State.LIVE
        assert harness.instance(first).generation == 2

    async def test_a_service_that_was_killed_while_it_stopped_is_not_copied(
        self, harness: DataHarness
    ) -> None:
        first = await harness.filled()
        harness.engine.change(harness.instance(first).id, Program(stop_code=137))
        failed = await harness.create(FromPreview(first.id))

        assert failed.state is SnapshotState.FAILED
        assert failed.problem
        assert failed.problem.reason == "stop-unclean"
        assert '"db" ended with exit code 137' in failed.problem.message
        harness.assert_no_leftovers()
        assert harness.instance(first).state is InstanceState.RUNNING

    async def test_one_that_is_not_live_is_refused_with_words(self, harness: DataHarness) -> None:
        harness.engine.add_image("postgres:16", Program(inner={"pg_isready": Inner(exit_code=2)}))
        first = await harness.launch("main")
        await harness.rest(5)
        failed = await harness.create(FromPreview(first.id))

        assert failed.problem
        assert failed.problem.reason == "preview-not-live"

    async def test_a_full_disk_leaves_nothing(self, harness: DataHarness) -> None:
        first = await harness.filled()
        harness.data.space = 1
        failed = await harness.create(FromPreview(first.id))

        assert failed.problem
        assert failed.problem.reason == "data-full"
        harness.assert_no_leftovers()
        assert (await harness.status(first)).state is State.LIVE

    async def test_only_one_is_made_at_a_time(self, harness: DataHarness) -> None:
        first = await harness.filled()
        request = CreateSnapshot("shop", FromPreview(first.id))
        await harness.snapshotting.snapshots.create(request, ANN)
        with pytest.raises(Refused, match=r"Snapshot 1 of shop is being made"):
            await harness.snapshotting.snapshots.create(request, ANN)

    async def test_of_another_application_or_unknown_is_refused(self, harness: DataHarness) -> None:
        with pytest.raises(Refused, match="There is no environment"):
            await harness.create(FromPreview("nope"))


class TestClones:
    async def test_without_a_snapshot_a_volume_starts_empty_and_says_so(self, harness: DataHarness) -> None:
        first = await harness.live("main")

        assert harness.volume(first) == {}
        data = await harness.snapshotting.of_preview(first.id, ANN)
        assert data.notes == ("The volume data started empty, because there was no snapshot yet.",)
        assert not (await harness.the(first)).has_cloned_data

    async def test_show_from_which_snapshot_they_are(self, harness: DataHarness) -> None:
        snapshot = await harness.ready(FromPreview((await harness.filled()).id))
        second = await harness.live("feature")

        [volume] = (await harness.snapshotting.of_preview(second.id, ANN)).volumes
        assert (volume.policy, volume.snapshot) == (VolumePolicy.CLONE, snapshot)

    async def test_the_comment_says_once_how_much_changed(self) -> None:
        harness = DataHarness([shop()])
        harness.data = FakeData(harness.engine, StorageKind.POOL)
        async with harness.open():
            snapshot = await harness.ready(FromPreview((await harness.filled()).id), name="base")
            repository = harness.forge.add_repository("acme", "shop")
            event = harness.forge.open(repository, "feature", "1" * 40)
            await harness.deliver(event)
            await harness.rest()
            [comment] = harness.forge.comments
            assert f'snapshot {snapshot.number} "base"' in comment.body
            assert "Changed while it started: 0 B" in comment.body

            [feature] = [each for each in await harness.environments() if each.change]
            harness.volume(feature)["rows"] = "changed"
            harness.running.change_feed.changed(feature.id)
            await harness.rest()
            assert harness.forge.comments == [comment], "it isn't edited again"
            await harness.deliver(harness.forge.push(event, "2" * 40))
            await harness.rest()
            assert "Changed while it started: 0 B" in harness.forge.comments[0].body

    async def test_another_version_of_the_database_is_refused(self, harness: DataHarness) -> None:
        await harness.ready(FromPreview((await harness.filled()).id))
        await harness.kill()
        harness.applications = [shop(None, replace(DB, image="postgres:17"))]
        await harness.start()
        second = await harness.launch("feature")
        await harness.rest()

        status = await harness.status(second)
        assert status.state is State.FAILED
        assert "postgres:17" in status.message
        assert "postgres:16" in status.message

    async def test_one_that_was_deleted_since_the_launch_is_replaced_by_another(
        self, harness: DataHarness
    ) -> None:
        first = await harness.filled()
        older = await harness.ready(FromPreview(first.id))
        harness.volume(first)["rows"] = "newer"
        newer = await harness.ready(FromPreview(first.id))
        harness.engine.delays["create"] = 5
        second = await harness.launch("feature")
        await harness.rest(3)
        await harness.snapshotting.snapshots.delete(newer.id, ANN)
        await harness.rest()

        assert (await harness.status(second)).state is State.LIVE
        assert harness.volume(second) == {"rows": "real"}
        [volume] = (await harness.snapshotting.of_preview(second.id, ANN)).volumes
        assert volume.snapshot == older

    async def test_code_from_a_fork_starts_empty(self, harness: DataHarness) -> None:
        await harness.ready(FromPreview((await harness.filled()).id))
        second = await harness.live("feature")
        forked = await harness.the(second)
        desired = replace(forked.desired, trust=Trust.FORK)
        await harness.store.write(lambda tx: tx.save_environment(replace(forked, desired=desired)))
        await harness.running.commands.redeploy(second.id, ANN)
        await harness.rest()

        assert harness.volume(second) == {}
        notes = (await harness.snapshotting.of_preview(second.id, ANN)).notes
        assert "the code is from a fork" in notes[0]

    async def test_a_preview_with_cloned_data_is_private_by_default(self, harness: DataHarness) -> None:
        first = await harness.filled()
        await harness.ready(FromPreview(first.id))
        second = await harness.live("feature")

        policies = harness.router.table.policies
        assert first.host not in policies
        guard = policies[second.host].guard
        assert guard
        assert guard.ways == {"sign-in"}

    async def test_unless_the_application_says_otherwise(self) -> None:
        async with DataHarness([replace(shop(), privacy_of_data=None)]).open() as harness:
            await harness.ready(FromPreview((await harness.filled()).id))
            second = await harness.live("feature")

            assert second.host not in harness.router.table.policies

    async def test_privacy_survives_the_loss_of_the_database(self, harness: DataHarness) -> None:
        await harness.ready(FromPreview((await harness.filled()).id))
        second = await harness.live("feature")
        password = harness.password(second)
        await harness.kill()
        harness.store = type(harness.store)()
        await harness.start()
        await harness.rest()

        assert (await harness.the(second)).has_cloned_data
        assert harness.router.table.policies[second.host].guard
        assert harness.password(second) == password
        harness.volume(second)["rows"] = "still mine"
        await harness.launch("feature")
        await harness.rest()
        assert harness.volume(second) == {"rows": "real"}
        assert harness.password(second) == password


class TestMasking:
    RULES = DataRules(mask={"db": "mask it"})

    @pytest.fixture
    async def harness(self) -> AsyncIterator[DataHarness]:
        async with DataHarness([shop(self.RULES)]).open() as opened:
            yield opened

    async def test_a_clone_has_the_masked_data_only(self, harness: DataHarness) -> None:
        harness.data.scripts["mask it"] = lambda volumes: _write(volumes["data"], "masked")
        first = await harness.filled()
        snapshot = await harness.ready(FromPreview(first.id))
        second = await harness.live("feature")

        assert snapshot.is_masked
        assert harness.saved(snapshot) == harness.volume(second) == {"rows": "masked"}
        assert harness.volume(first) == {"rows": "real"}
        harness.assert_no_leftovers(snapshot)

    async def test_a_failure_leaves_nothing_and_shows_the_output_without_secrets(
        self, harness: DataHarness
    ) -> None:
        first = await harness.filled()
        password = harness.password(first)
        harness.data.scripts["mask it"] = lambda _: Ran(3, f"connecting with {password}\nsyntax error")
        failed = await harness.create(FromPreview(first.id))

        assert failed.state is SnapshotState.FAILED
        assert failed.problem
        assert failed.problem.reason == "mask-failed"
        assert '"db" ended with exit code 3' in failed.problem.message
        assert failed.problem.detail == "connecting with ***\nsyntax error"
        harness.assert_no_leftovers()
        assert harness.volume(await harness.live("feature")) == {}

    async def test_a_script_for_a_service_without_data_masks_nothing(self) -> None:
        async with DataHarness([shop(DataRules(mask={"web": "mask it"}))]).open() as harness:
            failed = await harness.create(FromPreview((await harness.filled()).id))

            assert failed.problem
            assert failed.problem.reason == "mask-without-service"
            harness.assert_no_leftovers()

    async def test_it_is_never_ready_before(self, harness: DataHarness) -> None:
        harness.data.scripts["mask it"] = lambda volumes: _write(volumes["data"], "masked")
        harness.data.delays["script"] = 30
        first = await harness.filled()
        begun = await harness.snapshotting.snapshots.create(
            CreateSnapshot("shop", FromPreview(first.id)), ANN
        )
        await harness.rest(10)
        second = await harness.launch("feature")
        await harness.rest(10)

        shown = await harness.snapshotting.snapshots.show(begun.id, ANN)
        assert (shown.state, shown.progress) == (SnapshotState.MAKING, "Masking db")
        assert harness.volume(second) == {}


def _write(files: dict[str, str], text: str) -> Ran:
    files["rows"] = text
    return Ran(0, "UPDATE 1")


class TestFromADump:
    async def test_it_is_loaded_into_an_empty_service(self, harness: DataHarness, dump: Path) -> None:
        script = _load_script()
        harness.data.scripts[script] = lambda volumes: _write(volumes["data"], "from the dump")
        snapshot = await harness.ready(FromDump("db", dump, "shop.sql"))
        first, second = await harness.live("one"), await harness.live("two")

        assert harness.volume(first) == {"rows": "from the dump"}
        assert harness.password(first) == harness.password(second)
        assert snapshot.origin == "dump shop.sql"
        assert b"CREATE TABLE customers;" in harness.data.copied.values()
        assert not dump.exists()
        harness.assert_no_leftovers(snapshot)

    async def test_one_that_cannot_be_loaded_says_why(self, harness: DataHarness, dump: Path) -> None:
        harness.data.scripts[_load_script()] = lambda _: Ran(3, 'ERROR: role "bob" does not exist')
        failed = await harness.create(FromDump("db", dump, "shop.sql"))

        assert failed.problem
        assert failed.problem.reason == "restore-failed"
        assert "shop.sql" in failed.problem.message
        assert 'role "bob"' in failed.problem.detail
        assert not dump.exists()
        harness.assert_no_leftovers()

    @pytest.mark.parametrize(
        ("service", "reason"), [("nope", "service-unknown"), ("search", "restore-unsupported")]
    )
    async def test_a_service_that_cannot_is_refused(self, dump: Path, service: str, reason: str) -> None:
        search = ServiceSpec("search", image="elasticsearch:8", mounts=(Mount("/data", volume="index"),))
        async with DataHarness([shop(None, DB, search)]).open() as harness:
            with pytest.raises(Refused) as raised:
                await harness.create(FromDump(service, dump, "x"))
            assert raised.value.reason == reason
            assert await harness.snapshotting.snapshots.list(ANN) == []


def _load_script() -> str:
    return restore_script("postgres:16")


class TestFromACommand:
    async def test_it_runs_in_a_new_environment_which_is_removed(self, harness: DataHarness) -> None:
        snapshot = await harness.ready(FromCommand("bin/seed"))

        assert harness.engine.ran[-1][1] == ("sh", "-c", "bin/seed")
        assert snapshot.origin == "command bin/seed"
        assert await harness.environments(present=True) == []
        assert harness.engine.there() == []
        assert harness.engine.volume_names == frozenset()
        assert harness.volume(await harness.live("feature")) == {}
        assert (await harness.the((await harness.environments(present=True))[0])).has_cloned_data

    async def test_a_command_that_fails_says_why_and_leaves_nothing(self, harness: DataHarness) -> None:
        harness.engine.add_image(
            SHOP.image, Program(inner={"sh": Inner(exit_code=1, output="no such table")})
        )
        failed = await harness.create(FromCommand("bin/seed"))

        assert failed.problem
        assert (failed.problem.reason, failed.problem.detail) == ("seed-failed", "no such table")
        assert await harness.environments(present=True) == []
        harness.assert_no_leftovers()

    async def test_a_launch_that_fails_says_why(self, harness: DataHarness) -> None:
        harness.engine.add_image(SHOP.image, Program(exit_code=1))
        failed = await harness.create(FromCommand("bin/seed"))

        assert failed.problem
        assert "couldn't be launched" in failed.problem.message

    async def test_it_starts_empty(self, harness: DataHarness) -> None:
        await harness.ready(FromPreview((await harness.filled()).id))
        snapshot = await harness.ready(FromCommand("bin/seed"))

        assert harness.saved(snapshot) == {}


class TestPeople:
    async def test_what_is_done_is_in_the_audit_log(self, harness: DataHarness) -> None:
        first = await harness.filled()
        snapshot = await harness.ready(FromPreview(first.id), name="base")
        snapshots = harness.snapshotting.snapshots
        await snapshots.use(snapshot.id, ANN)
        async for _ in await snapshots.download(snapshot.id, "data", ANN):
            pass
        await harness.running.commands.reset(first.id, ANN)
        await snapshots.delete(snapshot.id, ANN)

        entries = await harness.running.control_plane.identity.audit.entries(limit=5)
        assert [(each.action, each.result) for each in reversed(entries)] == [
            ("manage-snapshots", "done"),
            ("manage-snapshots", "done"),
            ("download-snapshot", "done"),
            ("reset", "done"),
            ("manage-snapshots", "done"),
        ]
        assert entries[0].subject == 'delete snapshot 1 "base"'

    @pytest.mark.parametrize("role", [Role.NONE, Role.VIEWER])
    async def test_without_the_role_nothing_changes(self, harness: DataHarness, role: Role) -> None:
        first = await harness.filled()
        snapshot = await harness.ready(FromPreview(first.id))
        bob, snapshots = Actor("bob", "test", role=role), harness.snapshotting.snapshots
        for refused in (
            lambda: snapshots.create(CreateSnapshot("shop", FromPreview(first.id)), bob),
            lambda: snapshots.use(snapshot.id, bob),
            lambda: snapshots.delete(snapshot.id, bob),
            lambda: snapshots.download(snapshot.id, "data", bob),
            lambda: snapshots.use_newest("shop", bob),
            lambda: harness.running.commands.reset(first.id, bob),
        ):
            with pytest.raises(Refused) as raised:
                await refused()
            assert raised.value.status in (403, 404)
        assert await snapshots.list(ANN) == [snapshot]
        assert await snapshots.list(bob) == ([] if role is Role.NONE else [snapshot])

    async def test_an_application_may_require_a_higher_role(self) -> None:
        async with DataHarness([shop(DataRules(min_role=Role.ADMINISTRATOR))]).open() as harness:
            first = await harness.filled()
            bob = Actor("bob", "test", role=Role.DEVELOPER)
            with pytest.raises(Refused, match="lacks the permission") as raised:
                await harness.create(FromPreview(first.id), bob)
            assert "data.min_role" in raised.value.hint
            assert (await harness.ready(FromPreview(first.id))).number == 1

    async def test_they_are_found_by_number_name_and_id(self, harness: DataHarness) -> None:
        first = await harness.filled()
        base = await harness.ready(FromPreview(first.id), name="base")
        other = await harness.ready(FromPreview(first.id))
        snapshots = harness.snapshotting.snapshots

        for reference, wanted in (("1", base), ("base", base), (other.id, other), ("current", other)):
            assert await snapshots.find("shop", reference, ANN) == wanted
        with pytest.raises(Refused, match='no snapshot "3"'):
            await snapshots.find("shop", "3", ANN)

    async def test_one_that_was_chosen_stays_the_current_one(self, harness: DataHarness) -> None:
        first = await harness.filled()
        base = await harness.ready(FromPreview(first.id))
        await harness.snapshotting.snapshots.use(base.id, ANN)
        harness.volume(first)["rows"] = "newer"
        await harness.ready(FromPreview(first.id))
        assert harness.volume(await harness.live("feature")) == {"rows": "real"}

        await harness.snapshotting.snapshots.use_newest("shop", ANN)
        assert harness.volume(await harness.live("other")) == {"rows": "newer"}

    async def test_deleting_leaves_clones_and_the_next_push_starts_from_another(
        self, harness: DataHarness
    ) -> None:
        first = await harness.filled()
        base = await harness.ready(FromPreview(first.id))
        second = await harness.live("feature")
        await harness.snapshotting.snapshots.delete(base.id, ANN)
        await harness.rest()

        harness.assert_no_leftovers()
        assert harness.volume(second) == {"rows": "real"}
        assert (await harness.status(second)).state is State.LIVE
        [volume] = (await harness.snapshotting.of_preview(second.id, ANN)).volumes
        assert (volume.snapshot_id, volume.snapshot) == (base.id, None)
        assert harness.volume(await harness.live("feature")) == {}
        newer = await harness.ready(FromPreview(first.id))
        assert newer.number == 2, "a number isn't given twice"

    async def test_one_that_is_being_made_is_cancelled(self, harness: DataHarness) -> None:
        first = await harness.filled()
        harness.data.delays["save"] = 60
        begun = await harness.snapshotting.snapshots.create(
            CreateSnapshot("shop", FromPreview(first.id)), ANN
        )
        await harness.rest(5)
        await harness.snapshotting.snapshots.delete(begun.id, ANN)
        await harness.rest()

        assert await harness.snapshotting.snapshots.list(ANN) == []
        harness.assert_no_leftovers()
        assert (await harness.status(first)).state is State.LIVE


class TestReset:
    async def test_kept_volumes_start_empty_and_the_old_ones_go_after_the_switch(self) -> None:
        async with DataHarness([shop(data=VolumePolicy.KEEP)]).open() as harness:
            first = await harness.filled()
            await harness.running.commands.reset(first.id, ANN)
            await harness.rest()

            assert harness.volume(first) == {}
            assert harness.engine.volume_names == {(first.id, "data", 2)}
            assert (await harness.status(first)).state is State.LIVE

    async def test_further_pushes_keep_the_new_ones(self) -> None:
        async with DataHarness([shop(data=VolumePolicy.KEEP)]).open() as harness:
            first = await harness.filled()
            await harness.running.commands.reset(first.id, ANN)
            await harness.rest()
            harness.volume(first)["rows"] = "new"
            await harness.live("main")

            assert harness.volume(first) == {"rows": "new"}

    async def test_a_reset_that_fails_leaves_the_old_data_in_use(self) -> None:
        async with DataHarness([shop(data=VolumePolicy.KEEP)]).open() as harness:
            first = await harness.filled()
            harness.engine.add_image(SHOP.image, Program(exit_code=1))
            await harness.running.commands.reset(first.id, ANN)
            await harness.rest()

            assert harness.data.files(first.id, "data") == {"rows": "real"}
            served = harness.served(first.host)
            assert served
            assert served.generation == 1

    async def test_a_clone_starts_from_the_current_snapshot(self, harness: DataHarness) -> None:
        await harness.ready(FromPreview((await harness.filled()).id))
        second = await harness.live("feature")
        harness.volume(second)["rows"] = "changed"
        await harness.running.commands.reset(second.id, ANN)
        await harness.rest()

        assert harness.volume(second) == {"rows": "real"}

    async def test_a_preview_without_volumes_has_nothing_to_reset(self) -> None:
        async with DataHarness([SHOP]).open() as harness:
            first = await harness.live("main")
            with pytest.raises(Refused, match="has no volumes"):
                await harness.running.commands.reset(first.id, ANN)


class TestRetentionAndSchedule:
    async def test_older_ones_are_deleted_when_a_new_one_is_ready(self) -> None:
        async with DataHarness([shop(DataRules(keep=2))]).open() as harness:
            first = await harness.filled()
            named = await harness.ready(FromPreview(first.id), name="demo")
            others = [await harness.ready(FromPreview(first.id)) for _ in range(3)]

            kept = await harness.snapshotting.snapshots.list(ANN)
            assert [each.number for each in kept] == [4, 3, 1]
            harness.assert_no_leftovers(named, *others[1:])

    async def test_one_is_made_every_day(self) -> None:
        rules = DataRules(schedule=Schedule(time(3), preview="main"))
        async with DataHarness([shop(rules)]).open() as harness:
            await harness.filled()
            assert await harness.snapshotting.snapshots.list(ANN) == []
            for _ in range(2):
                await harness.skip(86_400 - 3 * 3_600)
                await harness.rest(3 * 3_600)

            made = await harness.snapshotting.snapshots.list(ANN)
            assert [each.number for each in made] == [2, 1]
            assert made[0].created_by == "schedule (configuration)"

    async def test_one_whose_preview_is_gone_is_in_the_audit_log(self) -> None:
        rules = DataRules(schedule=Schedule(time(3), preview="main"))
        async with DataHarness([shop(rules)]).open() as harness:
            await harness.skip(14 * 3_600)
            await harness.rest(3_600)

            [entry, *_] = await harness.running.control_plane.identity.audit.entries(limit=1)
            assert (entry.actor, entry.result) == ("schedule (configuration)", "refused")
            assert entry.detail == "environment-unknown"
