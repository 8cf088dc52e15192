"""A root helper of the test's own, with the builder for untrusted code: another interface, network and disk
than those of the machine's helper, and firewall rules for these alone."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from stager.engines.docker.network.pool import tag_of
from stager.helper.builder.engine import folder_of_engine
from stager.helper.protocol import HelperError
from tests.integration.stager import until

PROGRAMS = Path("/usr/libexec/stager/docker")
"""Where `scripts/test` puts a Docker that is new enough."""
NETWORKS = IPv4Network("198.18.240.0/20")


class OwnBuilder:
    """A helper, started as root, whose builder has a disk of `size`.

    Args:
        installation: the one whose previews the helper guards; none, if empty.
        user: whose the helper is.
    """

    def __init__(self, size: str = "6G", installation: str = "", user: str = "root") -> None:
        self.folder = Path(
            tempfile.mkdtemp(prefix="stager-test-")
        )  # short: a socket's path has 107 bytes at most
        self.folder.chmod(0o755)
        self.tag = tag_of(installation or secrets.token_hex(4))
        self.link = f"pvf{self.tag}build"
        self._network = list(NETWORKS.subnets(new_prefix=30))[int(self.tag, 16) % 1024]
        self._size, self._user = size, user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """The helper's."""
        return self.folder / "helper.sock"

    @property
    def outside(self) -> str:
        """The machine's address on the builder's link."""
        return str(self._network[1])

    @property
    def engine(self) -> int:
        """The process of the builder's engine."""
        [pid] = [pid for pid in _processes() if self._is_mine(pid)]
        return pid

    def runs(self) -> bool:
        return any(self._is_mine(pid) for pid in _processes())

    def _is_mine(self, pid: int) -> bool:
        """Its engine is the child of the process that its helper notes down."""
        with suppress(OSError, ValueError, IndexError):
            noted = (self.folder / "builder" / "process").read_text().split()[0]
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == noted
        return False

    def start(self, *more: str) -> None:
        own = ["--chains", f"STAGER-{self.tag.upper()}", "--tag", self.tag, "--log-group", "0"]
        builder = ["--builder-folder", str(self.folder / "builder"), "--builder-size", self._size,
                   "--builder-programs", str(PROGRAMS), "--builder-link", self.link,
                   "--builder-network", str(self._network)]  # fmt: skip
        command = [
            sys.executable,
            "-I",
            "-m",
            "stager.helper",
            "--user",
            self._user,
            "--socket",
            str(self.socket),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *own, *builder, *more], stdout=log, stderr=log)
        until(self._listens, "the helper listens")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        return "listening" in self.log.rpartition("\nstarted")[2] and self.socket.exists()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def kill9(self) -> None:
        """End the helper as a bug of its own would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        (self.folder / "log").unlink()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def nsenter(self, *command: str) -> subprocess.Popen[bytes]:
        """Run something in the builder's network."""
        return subprocess.Popen(["nsenter", "--target", str(self.engine), "--net", *command])

    def left_over(self) -> list[str]:
        """What there is of it on the machine: processes, interfaces, mounts, loop devices, rules."""
        found = [f"process {pid}" for pid in _processes() if self._is_mine(pid)]
        said = {
            "interface": _said("ip", "-oneline", "link"),
            "mount": Path("/proc/mounts").read_text(),
            "loop device": _said("losetup", "--all"),
            "rule": _said("iptables-save", "-t", "nat"),
        }
        for what, text in said.items():
            found += [f"{what}: {line}" for line in text.splitlines() if self._names(line)]
        return found

    def _names(self, line: str) -> bool:
        return self.link in line or str(self.folder) in line

    def clean_up(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.stop()
        remove_chains(f"STAGER-{self.tag.upper()}")
        shutil.rmtree(self.folder, ignore_errors=True)


def why_not() -> str:
    """Why there can be no builder for untrusted code on this machine; empty where there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux may start a builder"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices for the builder's disk here"
    missing = [
        tool for tool in ("unshare", "mkfs.ext4", "ip", "iptables", "nsenter") if not shutil.which(tool)
    ]
    if missing:
        return f"no {', '.join(missing)} here"
    try:
        folder_of_engine(PROGRAMS)
    except HelperError as error:
        return error.message
    return ""


@contextmanager
def own_builder(size: str = "6G", installation: str = "", user: str = "root") -> Iterator[OwnBuilder]:
    """A helper for as long as the block lasts. Skips where there can be none."""
    if reason := why_not():
        pytest.skip(reason)
    builder = OwnBuilder(size, installation, user)
    try:
        builder.start()
        yield builder
    finally:
        builder.clean_up()


def _processes() -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "comm").read_text().strip() == "dockerd":
                yield int(folder.name)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def remove_chains(prefix: str) -> None:
    """Remove a helper's rules, and nothing else."""
    for program in ("iptables", "ip6tables"):
        rules = [line for line in _said(f"{program}-save", "-t", "filter").splitlines() if prefix in line]
        jumps = [
            line.replace("-A ", "-D ", 1) for line in rules if not line.startswith((":", f"-A {prefix}"))
        ]
        chains = [line[1:].split()[0] for line in rules if line.startswith(":")]
        lines = [*jumps, *(f"-F {chain}" for chain in chains), *(f"-X {chain}" for chain in chains)]
        text = "\n".join(["*filter", *lines, "COMMIT", ""])
        subprocess.run([f"{program}-restore", "--noflush"], input=text, text=True, check=False)
