"""Real databases that write until they are stopped for a snapshot, and checks of its clones."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from stager.domain import catalogue
from stager.domain.application import Container
from stager.domain.environment import Instance
from stager.domain.errors import Refused, Retry
from stager.domain.profile import Egress, Limits, profile_of
from stager.domain.service import ServiceSpec, with_generated
from stager.ports.data import VolumeKey
from stager.ports.engine import Clone, InstanceSpec
from tests.contracts.data import DockerDataUnderTest
from tests.contracts.engines import instance_labels
from tests.integration.images import ServiceKind, service_image

CONCURRENT = 5
"""Clones that run at the same time."""
ROWS = 20
"""Rows that are written before the stop, at least."""
LIMITS = Limits(memory=384 << 20, cpus=1.0, pids=100, log_size=1 << 20)


@dataclass(frozen=True)
class Database:
    """A kind of database.

    Args:
        prepare: creates the data.
        write: writes until the server stops.
        count: prints the number of rows of the table `visits`.
        add: adds a row to it.
        check: exits with another code than 0 unless everything is sound.
    """

    kind: ServiceKind
    prepare: str
    write: str
    count: str
    add: str
    check: str


PSQL = 'psql -v ON_ERROR_STOP=1 -qAt -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c'
POSTGRES = Database(
    "postgres",
    prepare=f"""
        pgbench -iq -s 1 -U "$POSTGRES_USER" "$POSTGRES_DB" 2>&1
        {PSQL} "create table visits (who text primary key)"
    """,
    write=f"""
        pgbench -n -c 2 -T 600 -U "$POSTGRES_USER" "$POSTGRES_DB" &
        while {PSQL} "checkpoint; insert into visits values (gen_random_uuid())"; do :; done
        wait
    """,
    count=f'{PSQL} "select count(*) from visits"',
    add=f'{PSQL} "insert into visits values (gen_random_uuid())"',
    check=f"""
        set -e
        pg_amcheck --install-missing --heapallindexed --rootdescend -U "$POSTGRES_USER" -d "$POSTGRES_DB" 2>&1
        {PSQL} "select 1 / (sum(abalance) = (select sum(bbalance) from pgbench_branches))::int
            from pgbench_accounts"
    """,
)
SQL = 'MYSQL_PWD="$MYSQL_PASSWORD" mariadb -N -B -u "$MYSQL_USER" "$MYSQL_DATABASE" -e'
MARIADB = Database(
    "mariadb",
    prepare=f"""
        {SQL} "create table visits (id int auto_increment primary key, who varchar(64), key (who))"
    """,
    write=f'while {SQL} "insert into visits (who) select uuid() from seq_1_to_500"; do :; done',
    count=f'{SQL} "select count(*) from visits"',
    add=f'{SQL} "insert into visits (who) values (uuid())"',
    check=f'{SQL} "check table visits extended" | tee /dev/stderr | grep -qw OK',
)


async def spec_of(
    storage: DockerDataUnderTest, kind: ServiceKind, environment: str, snapshot: str = ""
) -> InstanceSpec:
    """A database as the catalogue completes it."""
    image = service_image(kind)
    entry = catalogue.find(image)
    assert entry
    service = entry.complete(ServiceSpec("db", image=image))
    [mount] = service.mounts
    labels = instance_labels(environment, service="db")
    spec = InstanceSpec(
        labels,
        await storage.engine.images.resolve(image),
        Container(
            mounts=(mount,),
            stop_signal=service.stop_signal,
            stop_grace_period=service.stop_grace_period or 10.0,
        ),
        profile_of(labels.profile, LIMITS, Egress()),
        {
            name: with_generated(value, lambda name: f"secret-{name}")
            for name, value in service.variables.items()
        },
    )
    if not snapshot:
        return spec
    clone = Clone(snapshot, mount.volume, catalogue.left_out(image, mount.target))
    return replace(spec, fresh_volumes=frozenset({mount.volume}), clones={mount.volume: clone})


async def started(
    storage: DockerDataUnderTest, kind: ServiceKind, environment: str, snapshot: str = ""
) -> Instance:
    """A running database that answers."""
    created = await storage.instances.create(await spec_of(storage, kind, environment, snapshot))
    instance = await storage.instances.start(created.id)
    entry = catalogue.find(service_image(kind))
    assert entry
    async with asyncio.timeout(120):
        while (await storage.instances.run(instance.id, entry.check.command, 10.0)).exit_code != 0:
            await asyncio.sleep(0.2)
    return instance


async def snapshot_while_writing(storage: DockerDataUnderTest, database: Database) -> Instance:
    """Take the snapshot `s1` of a database that writes until it is stopped. Returns the database, which runs
    again. A snapshot while it runs is refused."""
    base = await started(storage, database.kind, "e1")
    await storage.run(base, database.prepare)
    writing = asyncio.ensure_future(storage.instances.run(base.id, ("sh", "-c", database.write), 300.0))
    async with asyncio.timeout(120):
        while int(await storage.run(base, database.count)) < ROWS:
            await asyncio.sleep(0.2)
    source = {"db-data": VolumeKey("e1", "db-data")}
    with pytest.raises(Refused) as caught:
        await storage.data.save("s1", source)
    assert caught.value.reason == "volume-in-use"
    assert await storage.instances.stop(base.id) == 0
    with suppress(Retry):
        await writing
    await storage.data.save("s1", source)
    return await storage.instances.start(base.id)


async def check_clones(storage: DockerDataUnderTest, database: Database, number: int) -> None:
    """Check that so many clones of the snapshot `s1` are sound, and that none sees the rows of another."""
    for first in range(0, number, CONCURRENT):
        names = [f"c{each}" for each in range(first, min(number, first + CONCURRENT))]
        clones = [await started(storage, database.kind, name, "s1") for name in names]
        for clone in clones:
            await storage.run(clone, database.check)
        taken = int(await storage.run(clones[0], database.count))
        assert taken >= ROWS
        for added, clone in enumerate(clones):
            for _ in range(added):
                await storage.run(clone, database.add)
        counts = [int(await storage.run(clone, database.count)) for clone in clones]
        assert counts == [taken + added for added in range(len(clones))]
        for clone in clones:
            assert await storage.instances.stop(clone.id) == 0
            await storage.instances.remove(clone.id)
        await storage.instances.sweep({"e1": [0]})
