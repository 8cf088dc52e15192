"""A terminal's size, which Docker refuses before the command runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import aiodocker
import pytest

from stager.engines.docker import terminal
from stager.ports.engine import Size


class Execution:
    """One that runs after some questions.

    Args:
        refusals: how often a size is refused before.
    """

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.sizes: list[tuple[int, int]] = []

    def start(self, *, detach: bool) -> Execution:
        assert not detach
        return self

    async def __aenter__(self) -> Execution:
        return self

    async def resize(self, *, h: int, w: int) -> None:
        if self.refusals:
            self.refusals -= 1
            raise aiodocker.DockerError(500, "cannot resize a stopped container")
        self.sizes.append((h, w))

    async def read_out(self) -> SimpleNamespace:
        return SimpleNamespace(data=b"$ ")


async def opened(execution: Execution) -> terminal.DockerTerminal:
    async def run(*_: object, **__: object) -> Execution:
        return execution

    docker = SimpleNamespace(containers=SimpleNamespace(container=lambda _: SimpleNamespace(exec=run)))
    return await terminal.open_terminal(cast("Any", docker), "c", ["sh"], Size(40, 120), "xterm")


@pytest.mark.parametrize("refusals", [0, 3])
async def test_the_size_is_told_once_the_command_runs(refusals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "SIZE_PAUSE", 0.0)
    execution = Execution(refusals)
    await opened(execution)
    assert execution.sizes == [(40, 120)]


async def test_the_size_is_told_again_when_the_command_prints() -> None:
    execution = Execution(0)
    shell = await opened(execution)
    assert [await shell.read() for _ in range(3)] == [b"$ "] * 3
    assert execution.sizes == [(40, 120)] * 2


async def test_a_terminal_without_a_size_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "SIZE_PAUSE", 0.0)
    execution = Execution(10_000)
    await opened(execution)
    assert execution.sizes == []
