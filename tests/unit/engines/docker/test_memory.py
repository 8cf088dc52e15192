"""How the memory of sleeping previews is taken back, and what `stager doctor` says of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from stager.domain.errors import Fault, Retry
from stager.engines.docker.memory import DockerMemory
from stager.engines.docker.memory_check import MemoryCheck
from stager.engines.docker.swap import Swap, read_swap
from stager.helper.memory.cgroups import Cgroups
from stager.helper.protocol import HelperError, refused
from stager.helper.shapes import fields, text
from stager.helper.verbs import Feature, Verb, failed
from stager.helper_client import HelperClient
from stager.ports.diagnostics import Finding, Verdict
from stager.ports.engine import Reclaim
from tests.unit.helper.serving import served

GIGABYTE = 1 << 30
DOCKER = "unix:///nowhere/docker.sock"
ID = "ab" * 32
SWAP = Swap(4 * GIGABYTE)
NONE = Cgroups(0, Path("/nowhere"))
"""As for somebody who isn't root."""


class Helping(Feature):
    """A helper that gives 30 MB back, or fails."""

    name = "memory"

    def __init__(self, error: HelperError | None = None, lack: str = "") -> None:
        self._error, self._lack = error, lack
        self.asked: list[str] = []

    def unavailable(self) -> str:
        return self._lack

    def verbs(self) -> Iterable[Verb]:
        shape = fields(installation=text("mine", "it"), container=text("[0-9a-f]{64}", "an id"))
        yield Verb("memory-reclaim", shape, lambda values: self._reclaim(values["container"]), "memory")

    def _reclaim(self, container: str) -> dict[str, object]:
        self.asked.append(container)
        if self._error is not None:
            raise self._error
        return {"bytes": 30_000_000}


def memory(helper: HelperClient | None, swap: Swap = SWAP, address: str = DOCKER) -> DockerMemory:
    lack = "" if helper else "There is no root helper."
    return DockerMemory(address, "mine", helper, lack, cgroups=NONE, swap=lambda: swap)


class TestSwap:
    @pytest.mark.parametrize(
        ("lines", "words"),
        [
            ("", ""),
            ("/dev/zram0 partition 4194300 0 100\n", "4.0 GB of zram"),
            ("/swapfile\\040a file 2097148 1024 -2\n", "2.0 GB of swap on disk"),
            ("/dev/sda2 partition 1048572 0 -2\n/dev/zram0 partition 524284 0 5\n",
             "0.5 GB of zram and 1.0 GB of swap on disk"),
        ],
    )  # fmt: skip
    def test_in_words(self, tmp_path: Path, lines: str, words: str) -> None:
        file = tmp_path / "swaps"
        file.write_text(f"Filename\tType\tSize\tUsed\tPriority\n{lines}")
        assert str(read_swap(file)) == words

    def test_what_is_used(self, tmp_path: Path) -> None:
        file = tmp_path / "swaps"
        file.write_text(
            "Filename Type Size Used Priority\n/dev/zram0 partition 2048 1 5\n/a file 4096 2 -2\n"
        )
        assert read_swap(file) == Swap(2 << 20, 4 << 20, 3 << 10)

    def test_a_system_without_the_file(self, tmp_path: Path) -> None:
        assert read_swap(tmp_path / "none") == Swap()


class TestSupport:
    def test_by_the_helper(self, tmp_path: Path) -> None:
        assert memory(HelperClient(tmp_path)).support() == Reclaim("the root helper", "4.0 GB of zram")

    def test_without_swap(self, tmp_path: Path) -> None:
        support = memory(HelperClient(tmp_path), Swap()).support()
        assert not support.works
        assert "zram" in support.hint

    def test_without_the_helper(self) -> None:
        support = memory(None).support()
        assert not support.works
        assert support.hint.startswith("There is no root helper. The root helper can")

    def test_of_another_machine(self, tmp_path: Path) -> None:
        support = memory(HelperClient(tmp_path), address="tcp://10.0.0.1:2375").support()
        assert not support.works
        assert "same machine" in support.hint


class TestReclaim:
    async def test_by_the_helper(self, tmp_path: Path) -> None:
        helping = Helping()
        async with served(tmp_path, helping) as path:
            assert await memory(HelperClient(path)).reclaim(ID) == 30_000_000
        assert helping.asked == [ID]

    async def test_not_without_swap(self, tmp_path: Path) -> None:
        helping = Helping()
        async with served(tmp_path, helping) as path:
            assert await memory(HelperClient(path), Swap()).reclaim(ID) is None
        assert helping.asked == []

    @pytest.mark.parametrize(
        "error",
        [
            refused("It is gone.", "container-unknown"),
            failed("It was woken.", "container-awake"),
            failed("Its group is gone.", "group-unknown"),
        ],
    )
    async def test_of_one_that_was_woken_or_removed_meanwhile(
        self, tmp_path: Path, error: HelperError
    ) -> None:
        async with served(tmp_path, Helping(error)) as path:
            assert await memory(HelperClient(path)).reclaim(ID) is None

    @pytest.mark.parametrize(
        ("error", "kind"),
        [(failed("The kernel refuses.", "reclaim-failed"), Retry), (refused("What?"), Fault)],
    )
    async def test_that_fails(self, tmp_path: Path, error: HelperError, kind: type[Exception]) -> None:
        async with served(tmp_path, Helping(error)) as path:
            with pytest.raises(kind, match="The root helper reports"):
                await memory(HelperClient(path)).reclaim(ID)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root reclaims memory itself")
    async def test_as_root_itself(self, tmp_path: Path) -> None:
        (tmp_path / "memory.force_empty").touch()
        cgroups = Cgroups(1, tmp_path)
        own = DockerMemory(DOCKER, "mine", None, cgroups=cgroups, swap=lambda: Swap(1))
        assert own.support().way == "memory.force_empty of cgroup v1"
        with pytest.raises(Retry, match="Docker doesn't answer on /nowhere"):
            await own.reclaim(ID)


class TestDoctor:
    async def look(self, helper: HelperClient | None, swap: Swap = SWAP) -> Finding:
        [finding] = await MemoryCheck(DOCKER, helper, cgroups=NONE, swap=lambda: swap).run()
        return finding

    async def test_where_it_works(self, tmp_path: Path) -> None:
        async with served(tmp_path, Helping()) as path:
            finding = await self.look(HelperClient(path))
        assert (finding.verdict, finding.hint) == (Verdict.OK, "")
        assert (
            finding.message == "The memory of sleeping previews goes to 4.0 GB of zram, by the root helper."
        )

    async def test_without_swap(self, tmp_path: Path) -> None:
        async with served(tmp_path, Helping()) as path:
            finding = await self.look(HelperClient(path), Swap())
        assert finding.verdict is Verdict.OK
        assert "the machine has no swap" in finding.message
        assert "memory-of-sleeping-previews.md" in finding.hint

    async def test_with_swap_that_is_almost_full(self, tmp_path: Path) -> None:
        async with served(tmp_path, Helping()) as path:
            finding = await self.look(HelperClient(path), Swap(0, GIGABYTE, GIGABYTE - 1))
        assert finding.verdict is Verdict.WARNING
        assert "almost full" in finding.message

    async def test_without_a_helper_that_can(self, tmp_path: Path) -> None:
        nowhere = await self.look(HelperClient(tmp_path / "none.sock"))
        off = await self.look(None)
        async with served(tmp_path, Helping(lack="The kernel has no memory controller.")) as path:
            lacking = await self.look(HelperClient(path))
        async with served(tmp_path) as path:
            old = await self.look(HelperClient(path))
        for finding, why in (
            (nowhere, "There is no root helper at"),
            (off, "`helper: off`"),
            (lacking, "no memory controller"),
            (old, "too old"),
        ):
            assert finding.verdict is Verdict.OK
            assert why in finding.hint
            assert "stays in use" in finding.message
