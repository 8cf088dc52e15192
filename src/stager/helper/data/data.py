"""The verbs of the data pool. Callers name volumes and snapshots, never paths of this machine."""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stager.helper.builder.disk import size
from stager.helper.data.namespace import Namespace
from stager.helper.data.pool import Pool
from stager.helper.data.storage import DATA, NAME, SNAPSHOT, VOLUMES, Storage, complete
from stager.helper.protocol import HelperError
from stager.helper.shapes import INSTALLATION, Shape, boolean, fields, installation, integer, list_of, text
from stager.helper.verbs import Feature, Result, Verb, absolute, failed

log = logging.getLogger("stager-helper")

FOLDER = Path("/var/lib/stager-data")
FIRST_PROCESS = 1
MAX_BYTES = 1 << 50
MAX_PARTS, MAX_LEFT_OUT, MAX_LISTED = 32, 16, 256
COPY_TIMEOUT = 300.0
"""Seconds. A database of 1 GB takes less than 0.1, a folder of 100,000 files ten."""
INITIALIZE_TIMEOUT = 360.0
READ, MEASURE = "data-read", "data-usage"
"""The queues of verbs that change nothing. A volume with millions of files takes minutes to measure."""

volume = text(NAME, "a volume's name")
snapshot = text(SNAPSHOT, "a snapshot's id")
part = text(NAME, "the name of a snapshot's part")
left_out = text(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}){0,7}",
    "a relative path in a volume",
)


class Data(Feature):
    """The verbs `data-...`."""

    name = "data"

    def __init__(self, pool: Pool, namespace: Namespace) -> None:
        self._pool, self._namespace = pool, namespace
        self._problem = ""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Feature.add_arguments`."""
        group = parser.add_argument_group("the data pool")
        group.add_argument(
            "--data-folder", type=absolute, default=FOLDER, metavar="FOLDER",
            help="folder of the pool; default: %(default)s",
        )  # fmt: skip
        group.add_argument(
            "--data-max", type=size, default=None, metavar="SIZE",
            help="maximum size of the pool's file, such as 200G; default: what its disk has",
        )  # fmt: skip
        group.add_argument(
            "--data-namespace", type=int, default=FIRST_PROCESS, metavar="PROCESS",
            help="a process in dockerd's mount namespace, 0 for the helper's own; default: %(default)s",
        )  # fmt: skip

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Data:
        """See `Feature.of`."""
        namespace = Namespace(arguments.data_namespace or None)
        return cls(Pool(arguments.data_folder, namespace, arguments.data_max), namespace)

    def unavailable(self) -> str:
        """See `Feature.unavailable`."""
        return "" if os.geteuid() == 0 else "The helper isn't running as root."

    def verbs(self) -> Iterable[Verb]:
        """See `Feature.verbs`."""
        one = {"installation": installation, "volume": volume}
        copied = list_of(fields(part=part, volume=volume), MAX_PARTS)
        clone: dict[str, Shape] = {
            **one, "snapshot": snapshot, "part": part, "without": list_of(left_out, MAX_LEFT_OUT),
        }  # fmt: skip
        taken = fields(installation=installation, snapshot=snapshot, parts=copied)
        measured = fields(
            installation=installation,
            volumes=list_of(volume, MAX_LISTED),
            snapshots=list_of(snapshot, MAX_LISTED),
        )
        bytes_ = integer(1, MAX_BYTES)
        initialize = fields(bytes=bytes_, reserve=boolean())
        return [
            Verb("data-status", fields(), self._status, READ, timeout=30.0),
            Verb("data-init", initialize, self._initialize, self.name, timeout=INITIALIZE_TIMEOUT),
            Verb("data-grow", fields(bytes=bytes_), self._grow, self.name, timeout=INITIALIZE_TIMEOUT),
            Verb("data-volume-create", fields(**one), self._create_volume, self.name),
            Verb("data-volume-clone", fields(**clone), self._clone_volume, self.name, timeout=COPY_TIMEOUT),
            Verb("data-volume-remove", fields(**one), self._remove_volume, self.name, timeout=COPY_TIMEOUT),
            Verb("data-snapshot-create", taken, self._create_snapshot, self.name, timeout=COPY_TIMEOUT),
            Verb(
                "data-snapshot-remove", fields(installation=installation, snapshot=snapshot),
                self._remove_snapshot, self.name, timeout=COPY_TIMEOUT,
            ),
            Verb("data-list", fields(installation=installation), self._list, READ, timeout=30.0),
            Verb("data-usage", measured, self._usage, MEASURE, timeout=COPY_TIMEOUT),
        ]  # fmt: skip

    def start(self) -> None:
        """See `Feature.start`: mount the pool, and remove what a helper that crashed left incomplete."""
        if os.geteuid() != 0:
            return
        try:
            self._remove_leftovers()
        except HelperError as error:
            if error.reason != "no-pool":
                log.warning("data: %s", error.message)

    def tick(self) -> None:
        """See `Feature.tick`: restore the reserve, and log when the pool becomes almost full."""
        if os.geteuid() != 0:
            return
        try:
            problem = self._pool.maintain()
        except HelperError as error:
            problem = error.message
        if problem and not self._problem:
            log.warning("data: %s", problem)
        self._problem = problem

    def _remove_leftovers(self) -> None:
        with self._pool.opened() as root, _errors():
            for name in complete(root, INSTALLATION):
                storage = Storage(root, name, self._is_mounted)
                storage.create_folders()
                if count := storage.remove_leftovers():
                    log.info("data: removed %s incomplete volumes and snapshots", count)

    def _status(self, values: Mapping[str, Any]) -> Result:
        del values
        return asdict(self._pool.status())

    def _initialize(self, values: Mapping[str, Any]) -> Result:
        self._pool.initialize(values["bytes"], reserve=values["reserve"])
        return asdict(self._pool.status())

    def _grow(self, values: Mapping[str, Any]) -> Result:
        self._pool.grow(values["bytes"])
        return asdict(self._pool.status())

    def _create_volume(self, values: Mapping[str, Any]) -> Result:
        self._pool.check_room()
        with self._storage(values) as storage:
            storage.create_folders()
            return self._made(values, created=storage.create_volume(values["volume"]))

    def _clone_volume(self, values: Mapping[str, Any]) -> Result:
        self._pool.check_room()
        origin = values["snapshot"], values["part"]
        with self._storage(values) as storage:
            storage.create_folders()
            created = storage.clone_volume(values["volume"], origin, values["without"])
            return self._made(values, created=created)

    def _made(self, values: Mapping[str, Any], *, created: bool) -> Result:
        path = self._pool.folder / values["installation"] / VOLUMES / values["volume"] / DATA
        return {"path": str(path), "created": created}

    def _remove_volume(self, values: Mapping[str, Any]) -> Result:
        with self._storage(values) as storage:
            return {"removed": storage.exists() and storage.remove_volume(values["volume"])}

    def _create_snapshot(self, values: Mapping[str, Any]) -> Result:
        self._pool.check_room()
        parts = {each["part"]: each["volume"] for each in values["parts"]}
        with self._storage(values) as storage:
            storage.create_folders()
            created = storage.create_snapshot(values["snapshot"], parts)
            return {"created": created, "parts": _parts(storage, values["snapshot"])}

    def _remove_snapshot(self, values: Mapping[str, Any]) -> Result:
        with self._storage(values) as storage:
            return {"removed": storage.exists() and storage.remove_snapshot(values["snapshot"])}

    def _list(self, values: Mapping[str, Any]) -> Result:
        with self._storage(values) as storage:
            if not storage.exists():
                return {"volumes": [], "snapshots": []}
            volumes, snapshots = storage.volumes(), storage.snapshots()
        return {
            "volumes": [
                {"volume": name, "snapshot": origin[0], "part": origin[1]} for name, origin in volumes.items()
            ],
            "snapshots": [{"snapshot": name, "parts": parts} for name, parts in snapshots.items()],
        }

    def _usage(self, values: Mapping[str, Any]) -> Result:
        with self._storage(values) as storage:
            if not storage.exists():
                return {"volumes": [], "snapshots": []}
            known = storage.snapshots()
            volumes = [
                {"volume": name, **asdict(usage)}
                for name in values["volumes"]
                if (usage := storage.volume_usage(name)) is not None
            ]
            parts = [
                {"snapshot": name, "part": part, **asdict(storage.part_usage(name, part))}
                for name in values["snapshots"]
                for part in known.get(name, ())
            ]
        return {"volumes": volumes, "snapshots": parts}

    @contextlib.contextmanager
    def _storage(self, values: Mapping[str, Any]) -> Iterator[Storage]:
        with self._pool.opened() as root, _errors():
            yield Storage(root, values["installation"], self._is_mounted)

    def _is_mounted(self, path: str) -> bool:
        """Whether a folder of the pool is mounted somewhere else, as a container's volume."""
        return any(f"{mount.root}/".endswith(f"/{path}/") for mount in self._namespace.mounts())


def _parts(storage: Storage, name: str) -> list[dict[str, object]]:
    return [
        {"part": each, "size": storage.part_usage(name, each).size}
        for each in storage.snapshots().get(name, ())
    ]


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of the system into those of a verb."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Remove previews or snapshots, or make it larger: `sudo stager data grow`."
            raise failed("The data pool is full.", "pool-full", hint) from error
        raise failed(f"The data pool reports an error: {error}.", "pool-broken") from error
