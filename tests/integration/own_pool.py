"""A root helper of the test's own with a data pool, and a mount namespace in place of the machine's.

The namespace is kept by a process that does nothing. When it ends, as at a reboot, all its mounts are gone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stager.helper_client import HelperClient
from tests.integration.own_builder import remove_chains
from tests.integration.stager import until

COMMANDS = ("unshare", "nsenter", "setpriv", "mount", "losetup", "fallocate", "mkfs.xfs", "xfs_growfs")
WITH_TEST = ["setpriv", "--pdeathsig", "KILL"]
"""It ends with the test, also when that is killed."""
KEEPER = [*WITH_TEST, "unshare", "--mount", "--propagation", "private", "sleep", "infinity"]


class OwnPool:
    """A helper, started as root, and its namespace.

    Args:
        more: further options of the helper.
        before: what the helper's command is started by, such as `setpriv` with its options.
        process: a process in the namespace, such as dockerd; by default, the namespace is the pool's own.
    """

    def __init__(
        self, more: Sequence[str] = (), before: Sequence[str] = (), process: int | None = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stager-test-"))  # a socket's path has 107 bytes at most
        self.folder.chmod(0o755)
        self.data = self.folder / "outer" / "data"
        self._process = process
        self._more, self._before = more, before
        self._tag = secrets.token_hex(2)
        self._keeper: subprocess.Popen[bytes] | None = None
        self._helper: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """The helper's."""
        return self.folder / "helper.sock"

    @property
    def pool(self) -> Path:
        """The pool, in the namespace."""
        return self.data / "pool"

    @property
    def process(self) -> int:
        """A process in the namespace."""
        if self._process is not None:
            return self._process
        assert self._keeper is not None
        return self._keeper.pid

    def path(self, path: Path | str) -> Path:
        """Where this process finds a path of the namespace."""
        return Path(f"/proc/{self.process}/root") / str(path).lstrip("/")

    def run(self, *command: str) -> str:
        """Run a command in the namespace."""
        enter = ["nsenter", f"--mount=/proc/{self.process}/ns/mnt", "--"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        return done.stdout

    def boot(self) -> None:
        """Start with nothing mounted."""
        if self._process is not None:
            return
        self._keeper = subprocess.Popen(KEEPER)
        own = Path("/proc/self/ns/mnt").stat().st_ino
        mounts = Path(f"/proc/{self._keeper.pid}")
        until(
            lambda: (
                (mounts / "ns" / "mnt").stat().st_ino != own
                and (mounts / "comm").read_text().strip() == "sleep"
            ),
            "there is a namespace",
        )

    def start(self) -> None:
        """Start the helper."""
        log = self.folder / "log"
        command = [
            sys.executable,
            "-I",
            "-m",
            "stager.helper",
            "--user",
            "root",
            "--socket",
            str(self.socket),
        ]
        chains = ["--chains", f"STAGER-{self._tag.upper()}", "--tag", self._tag, "--log-group", "0"]
        data = ["--data-folder", str(self.data), "--data-namespace", str(self.process)]
        builder = ["--builder-folder", str(self.folder / "builder")]
        options = [*chains, *data, *builder, "--check-every", "0.2", *self._more]
        with log.open("wb") as file:
            self._helper = subprocess.Popen(
                [*WITH_TEST, *self._before, *command, *options], stdout=file, stderr=file
            )
        until(self._listens, "the helper listens")

    def _listens(self) -> bool:
        assert self._helper is not None
        assert self._helper.poll() is None, self.log
        return "listening" in self.log and self.socket.exists()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def kill9(self) -> None:
        """End the helper as a bug of its own would."""
        assert self._helper is not None
        self._helper.kill()
        self._helper.wait()

    def stop(self) -> None:
        if self._helper is not None and self._helper.poll() is None:
            self._helper.terminate()
            self._helper.wait(30)

    def unmount(self) -> None:
        """Unmount the pool."""
        self.run("umount", str(self.pool))

    def halt(self) -> None:
        """End the helper and all mounts."""
        self.stop()
        if self._process is not None:
            self.run("sh", "-c", f"umount --quiet {self.pool}; umount --quiet {self.data.parent}; true")
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.wait()
            self._keeper = None

    def reboot(self) -> None:
        self.halt()
        self.boot()
        self.start()

    async def call(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Call one of the verbs `data-...`."""
        return await HelperClient(self.socket).call(f"data-{verb}", 120, **fields)

    def left_over(self) -> list[str]:
        """Mounts and loop devices with files of it."""
        loops = subprocess.run(["losetup", "--all"], capture_output=True, text=True, check=False).stdout
        lines = [*Path("/proc/mounts").read_text().splitlines(), *loops.splitlines()]
        return [line for line in lines if str(self.folder) in line]

    def clean_up(self) -> None:
        try:
            self.halt()
            if (
                self._process is None
            ):  # namespaces of others that were made meanwhile keep the mounts of another
                until(lambda: not self.left_over(), "the loop devices are released")
        finally:
            remove_chains(f"STAGER-{self._tag.upper()}")
            shutil.rmtree(self.folder, ignore_errors=True)


def why_not(*more: str) -> str:
    """Why there can be no pool on this machine; empty where there can.

    Args:
        more: further commands that the test needs.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux may mount a pool"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices here"
    missing = [name for name in (*COMMANDS, *more) if shutil.which(name) is None]
    return f"no {', '.join(missing)} here" if missing else ""


def dockerd() -> int:
    """The process that listens at Docker's socket, unix(7). It is in the namespace of dockerd."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("/var/run/docker.sock")
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", peer)[0]
    return pid


@contextmanager
def own_pool(*more: str, before: Sequence[str] = (), process: int | None = None) -> Iterator[OwnPool]:
    """A helper with its namespace for as long as the block lasts. Skips where there can be none.

    Args:
        more: further options of the helper.
        before: what the helper's command is started by.
        process: see `OwnPool`.
    """
    if reason := why_not():
        pytest.skip(reason)
    pool = OwnPool(more, before, process)
    try:
        pool.boot()
        (pool.folder / "outer").mkdir(mode=0o755)
        pool.start()
        yield pool
    finally:
        pool.clean_up()
