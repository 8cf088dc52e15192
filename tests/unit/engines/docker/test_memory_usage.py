"""Memory of containers, from the files of both versions of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.engines.docker.memory_usage import read_memory

ID = "c0ffee"
STAT_V1 = "cache 4096\ninactive_file 1\ntotal_inactive_file 3000\n"
STAT_V2 = "anon 4096\ninactive_file 3000\n"


def group(folder: Path, usage: str, number: str, stat: str) -> None:
    folder.mkdir(parents=True)
    (folder / usage).write_text(f"{number}\n")
    (folder / "memory.stat").write_text(stat)


@pytest.mark.parametrize("where", [f"docker/{ID}", f"system.slice/docker-{ID}.scope"])
@pytest.mark.parametrize("version", [1, 2])
def test_without_the_page_cache_that_is_freed_first(tmp_path: Path, where: str, version: int) -> None:
    if version == 1:
        group(tmp_path / "memory" / where, "memory.usage_in_bytes", "10000", STAT_V1)
    else:
        group(tmp_path / where, "memory.current", "10000", STAT_V2)
    assert read_memory(tmp_path, ID) == 7000


def test_never_below_zero(tmp_path: Path) -> None:
    group(tmp_path / "docker" / ID, "memory.current", "10", STAT_V2)
    assert read_memory(tmp_path, ID) == 0


@pytest.mark.parametrize("number", ["", "max"])
def test_what_isnt_there_or_isnt_a_number_is_unknown(tmp_path: Path, number: str) -> None:
    assert read_memory(tmp_path, ID) is None
    group(tmp_path / "docker" / ID, "memory.current", number, STAT_V2)
    assert read_memory(tmp_path, ID) is None
