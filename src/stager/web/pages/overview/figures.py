"""Memory, processors and times of previews in words."""

from __future__ import annotations

from stager.control.environments.consumption import Figures

_MEGABYTE = 1 << 20
_GIGABYTES = ((1 << 40, "TB"), (1 << 30, "GB"))


def shown(figures: Figures) -> list[int]:
    """Return what the page shows of a preview's figures: megabytes, and percent of one processor; -1 if that
    isn't known. Smaller changes aren't sent."""
    percent = -1 if figures.processor is None else round(figures.processor * 100)
    return [round(figures.memory / _MEGABYTE), percent]


def size(count: int) -> str:
    """Return a number of bytes with its unit, such as `52 MB` or `1.2 GB`."""
    for unit, name in _GIGABYTES:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{round(count / _MEGABYTE)} MB"


def in_words(figures: Figures) -> str:
    """Return a preview's figures, such as `52 MB · 3 % CPU`."""
    megabytes, percent = shown(figures)
    memory = size(megabytes * _MEGABYTE)
    return memory if percent < 0 else f"{memory} · {percent} % CPU"
