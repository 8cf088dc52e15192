"""Memory of containers: their control groups, and the processes that Docker has for each."""

from __future__ import annotations

from pathlib import Path

from stager.helper.memory.cgroups import VERSIONS, find_cgroups
from tests.integration.stager import docker


def group_of(container: str) -> Path:
    """The control group of a container that runs or is paused.

    Args:
        container: its full id.
    """
    group = find_cgroups().group_of(_process_of(container), container)
    assert group is not None, container
    return group


def memory_of(container: str) -> int:
    """Bytes that one more container costs: its own memory, caches and the kernel's part included, and that of
    the process between it and containerd, without its program, which is in memory once for all of them."""
    used = int((group_of(container) / VERSIONS[find_cgroups().version].usage).read_text())
    parent = Path(f"/proc/{_process_of(container)}/stat").read_text().rpartition(")")[2].split()[1]
    return used + _anonymous(Path(f"/proc/{parent}/smaps_rollup").read_text())


def swap_out(container: str) -> None:
    """Move the memory of a paused container to swap, as Stager's helper does."""
    find_cgroups().reclaim(group_of(container), "0")


def _process_of(container: str) -> int:
    return int(docker("inspect", "--format", "{{.State.Pid}}", container))


def _anonymous(text: str) -> int:
    """Bytes that aren't of a file (Documentation/filesystems/proc.rst, `smaps_rollup`)."""
    [line] = [line for line in text.splitlines() if line.startswith("Pss_Anon:")]
    return int(line.split()[1]) << 10
