"""The machine's swap, proc_swaps(5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SWAPS = Path("/proc/swaps")


@dataclass(frozen=True, slots=True)
class Swap:
    """All of the machine's swap.

    Args:
        compressed: bytes in memory, by zram.
        stored: bytes on disks.
        used: bytes of both.
    """

    compressed: int = 0
    stored: int = 0
    used: int = 0

    @property
    def size(self) -> int:
        return self.compressed + self.stored

    def __str__(self) -> str:
        kinds = {"zram": self.compressed, "swap on disk": self.stored}
        return " and ".join(f"{size / (1 << 30):.1f} GB of {kind}" for kind, size in kinds.items() if size)


def read_swap(file: Path = SWAPS) -> Swap:
    """Read it; none if this system doesn't say."""
    try:
        rows = [line.split() for line in file.read_text("utf-8", "replace").splitlines()[1:]]
    except OSError:
        return Swap()
    sizes = [(row[0], int(row[2]) << 10, int(row[3]) << 10) for row in rows if len(row) >= 4]
    compressed = sum(size for name, size, _ in sizes if name.startswith("/dev/zram"))
    return Swap(compressed, sum(size for _, size, _ in sizes) - compressed, sum(used for *_, used in sizes))
