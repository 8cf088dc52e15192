"""When a worker looks, and when it leaves a step alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import pytest

from stager.control.reconciler.actions import Actions
from stager.control.reconciler.context import ObservedState
from stager.control.reconciler.worker import SOON, Worker
from stager.domain.plan import Action, Wait
from stager.testing.fakes.clock import START


@dataclass
class FewSteps:
    """Steps that take some seconds, and wake the worker as soon as they begin.

    Attributes:
        seconds: what is still to be taken.
        done: the looks that there had been at the end of each step.
    """

    seconds: list[float]
    looks: int = 0
    done: list[int] = field(default_factory=list)
    worker: Worker | None = None

    def now(self) -> datetime:
        return START

    async def may_begin(self) -> None:
        pass

    async def observe(self, _: str) -> Any:
        self.looks += 1
        return self

    @property
    def environment(self) -> Any:
        return self

    desired = observed = environment

    async def take(self, _: ObservedState, __: Action) -> None:
        assert self.worker
        self.worker.wake()
        await asyncio.sleep(self.seconds[0])
        self.seconds.pop(0)
        self.done.append(self.looks)

    async def settle(self, _: ObservedState) -> None:
        pass


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as there are steps, the next one follows."""

    def plan(desired: FewSteps, *_: object) -> Wait | None:
        return Wait(START) if desired.seconds else None

    monkeypatch.setattr("stager.control.reconciler.worker.plan", plan)


async def worked(*seconds: float) -> FewSteps:
    steps = FewSteps(list(seconds))
    steps.worker = Worker("e1", cast("Actions", steps))
    await steps.worker.run()
    return steps


async def test_a_short_action_isnt_observed() -> None:
    assert (await worked(SOON / 2, SOON / 2)).done == [1, 2]


async def test_a_long_action_is_observed() -> None:
    assert (await worked(SOON * 2)).done == [2]
