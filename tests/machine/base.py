"""The basis of the state machine over fakes: virtual time, a control plane that may be killed at any point,
and observations of internal state."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine

from stager.domain.application import Application, ForkMode
from stager.domain.environment import Environment, EnvironmentKey, Instance, InstanceLabels, InstanceState
from stager.domain.pull_requests.events import CommentAdded
from stager.domain.pull_requests.rules import Rules
from stager.domain.recipe import Recipe
from stager.domain.service import MAIN_SERVICE, Mount, ServiceSpec, VolumePolicy
from stager.domain.snapshot import DataRules
from stager.domain.source import Access, Change, Trust
from stager.domain.stack import StackDeclaration
from stager.ports.source import Origin
from stager.ports.store import Transaction
from stager.testing import FakeForge
from stager.testing.fakes.sources import FakeSources
from stager.testing.fakes.store import MemoryTransaction
from tests.machine.conftest import Mishaps
from tests.machine.engine import DiligentEngine
from tests.machine.expected import Expected
from tests.unit.control.harness import SHOP, Harness
from tests.unit.control.tripwire import Tripwire
from tests.unit.control.virtual_time import LoopClock, VirtualTimeLoop

T = TypeVar("T")

ORIGIN = Origin("https://forge.test/acme/shop.git")
SECRET = ("TOKEN", "for our own code alone")
OURS, STRANGERS = "ann", "mallory"
"""Who may push to the repository, and who may not."""
OWN_FILE = ".stager.yml"
SAID_BY_HEAD, SAID_BY_BASE = "SAID_BY_HEAD", "SAID_BY_BASE"
"""Variables that the repository's own file sets, in the heads of pull requests and on the base branch."""
BASE = "b" * 40
"""The commit of the base branch, and of those that are launched by name."""
MASK = "mask it"
"""The masking script of the database."""
STOPS_ALLOWED = 4
"""How often in a row one revision is stopped from outside: after the next, it rightly counts as broken."""


SERVICES = (
    ServiceSpec("db", image="acme/db:1", mounts=(Mount("/data", volume="data"),)),
    ServiceSpec("admin", image="acme/admin:1", port=8080),
)


@dataclass(frozen=True, slots=True)
class Terms:
    """How the installation is configured.

    Args:
        builds: whether it builds its images.
        at_once: how many at a time.
        services: whether the application has a database and a routed service besides.
        clones: whether the database's volume is cloned from masked snapshots.
    """

    forks: ForkMode = "approve"
    rules: Rules = field(default_factory=Rules)
    builds: bool = False
    at_once: int = 2
    services: bool = False
    clones: bool = False

    @property
    def application(self) -> Application:
        return replace(
            SHOP,
            owner="acme",
            secrets=dict([SECRET]),
            forks=self.forks,
            rules=self.rules,
            build=Recipe(secrets=dict([SECRET])) if self.builds else None,
            repository_file=OWN_FILE if self.builds else "",
            repository_file_keys=frozenset({"env"}),
            declared=StackDeclaration(
                SERVICES if self.services else (),
                volumes={"data": VolumePolicy.CLONE} if self.clones else {},
            ),
            data=DataRules(keep=3, mask={"db": MASK} if self.clones else {}),
            fork_images=tuple(service.image for service in SERVICES),
        )


class BaseMachine(RuleBasedStateMachine):
    """One installation with its engine, its builder, its front and a forge.

    Attributes:
        expected: the book.
        heads: every head that each pull request ever had.
        foreign: the pull requests that came from forks.
        ours: every commit that was in the repository itself.
        let_run: the commits of pull requests that a user with the permission ever approved.
        failing: the commits that no image comes of.
        passed: the commits whose checks have passed.
        closed_once: the pull requests that ever were closed.
        is_replaced: whether another repository has a name that was ours: who knows only names is lost then.
        adopted: the commits of pull requests that ran when the database was lost.
    """

    credentials = True
    """Whether the forge can be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.unheard: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.unheard.append(repr(context)))
        Mishaps.seen.clear()
        self.expected = Expected()
        self.heads: dict[int, list[str]] = {}
        self.foreign: set[int] = set()
        self.ours: set[str] = {BASE}
        self.let_run: set[tuple[int, str]] = set()
        self.failing: set[str] = set()
        self.passed: set[str] = set()
        self.closed_once: set[int] = set()
        self.is_replaced = False
        self.adopted: set[tuple[int, str]] = set()
        self.versions = 0
        self.stops: Counter[str] = Counter()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _build(self, terms: Terms, tick: float) -> None:
        self.terms = terms
        self.engine = DiligentEngine(LoopClock())
        self.harness = Harness(
            [terms.application],
            credentials=self.credentials,
            at_once=terms.at_once,
            engine=self.engine,
            forge=FakeForge(tick=tick),
            sources=FakeSources({OWN_FILE: f"env: {{{SAID_BY_HEAD}: '1'}}"}),
        )
        for service in SERVICES:
            self.engine.add_image(service.image)
        forge = self.harness.forge
        self.repository = forge.add_repository("acme", "shop")
        self.forks = [forge.add_repository(owner, "shop") for owner in (STRANGERS, "nobody")]
        forge.allow(self.repository, OURS, Access.WRITE)
        forge.origins[self.repository.id] = ORIGIN
        refs = [f"refs/heads/{name}" for name in ("main", "red", "feature-x", "by-hand")]
        self.harness.sources.add(ORIGIN.url, BASE, {OWN_FILE: f"env: {{{SAID_BY_BASE}: '1'}}"}, *refs)

    # How pull requests stand.

    def _truths(self) -> list[Change]:
        """How they stand at the forge."""
        return self.harness.forge.changes

    def truth(self, number: int) -> Change:
        return next(c for c in self._truths() if c.number == number)

    def _numbers(self, ref: str) -> list[int]:
        return [c.number for c in self._truths() if c.head_ref == ref]

    def _is_barred(self, change: Change) -> bool:
        """Whether no approval is possible."""
        return change.trust is Trust.FORK and self.terms.forks == "off"

    def _sha(self) -> str:
        """A new commit, which its first seven digits tell from others."""
        self.versions += 1
        return f"{self.versions:07x}".ljust(40, "0")

    # Start and end of the control plane.

    @property
    def _alive(self) -> bool:
        return not self.harness.running.wire.tripped.is_set()

    async def _die(self) -> None:
        """Nothing of the control plane is left but what the engine is doing for it."""
        await self.harness.kill()
        await end_all_tasks(but=self.engine.under_way)

    async def _start(self, fuse: int | None) -> None:
        """Start a control plane; that brings the front back first, as the real one does."""
        self.harness.router.come_back()
        wire = Tripwire(fuse)
        wire.arm()
        await self.harness.start(wire, rest=False)
        await self.harness.rest(5 * self.harness.router.delay + 0.01)

    def _answered(self, call: Coroutine[Any, Any, T]) -> T | None:
        """What was answered; None if the control plane was killed before it could answer."""
        return self.do(self._answer(call))

    async def _answer(self, call: Coroutine[Any, Any, T]) -> T | None:
        asked = asyncio.ensure_future(call)
        died = asyncio.ensure_future(self.harness.running.wire.tripped.wait())
        await asyncio.wait({asked, died}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if asked.done():
            return asked.result()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        return None

    # What the control plane knows.

    def _peek(self, work: Callable[[Transaction], T]) -> T:
        """What the store has at this moment; no time passes."""
        return work(MemoryTransaction(self.harness.store._tables, writable=False))

    def _is_known(self, environment: str) -> bool:
        return self._peek(lambda tx: tx.environment(environment)) is not None

    def _of_change(self, number: int) -> Environment | None:
        key = EnvironmentKey.of_change("shop", self.repository.id, number)
        return self._peek(lambda tx: tx.environment_by_key(key))

    def _knows_everything(self) -> bool:
        """Whether it has processed all that it received."""
        return self._peek(lambda tx: tx.next_delivery()) is None

    def _has_to_hear(self, number: int) -> bool:
        """Whether it has yet to do what a comment on this pull request says."""
        receipts = self.harness.store._tables.receipts.values()
        waiting = [self.harness.forge.read(r.delivery) for r in receipts if r.finished_at is None]
        return any(isinstance(event, CommentAdded) and event.number == number for event in waiting)

    def _knows_repository(self) -> bool:
        """Whether it has received a delivery of it, so that it knows its other name as well."""
        seen = self._peek(lambda tx: tx.repositories())
        return any(s.repository.id == self.repository.id for s in seen)

    # What runs.

    def _running(self) -> list[Instance]:
        alive = (InstanceState.RUNNING, InstanceState.PAUSED)
        return [i for i in self.engine.there() if i.state in alive]

    def _to_stop(self) -> list[Instance]:
        return [i for i in self._running() if self.stops[i.deployment] < STOPS_ALLOWED]

    def _has_answered(self, instance: Instance) -> bool:
        runs = [
            run
            for deployment in self._peek(lambda tx: tx.deployments(instance.environment))
            if deployment.generation in {instance.generation, *instance.generations}
            for run in (deployment.attempt.healthy_runs.get(instance.service, ""),)
        ]
        if self.terms.services:
            return any(run.startswith(f"{instance.id}@") for run in runs)
        return any(runs)

    def _running_of(self, number: int) -> str | None:
        """The head that runs for this pull request."""
        labels = self._main_ones()
        heads = [b.revision.sha for b in labels if b.change is not None and b.change.number == number]
        return heads[0] if heads else None

    def _main_ones(self) -> list[InstanceLabels]:
        """What the instances of the application itself were created for; others may be of earlier ones."""
        return [self.engine.spec(i.id).labels for i in self.engine.there() if i.service == MAIN_SERVICE]

    def _running_as(self, name: str) -> str | None:
        """The version that runs under this name."""
        found = [b.parameters["V"] for b in self._main_ones() if b.subject == f"name:{name}"]
        return found[0] if found else None

    def _versions_labelled(self, name: str) -> set[str | None]:
        """The versions that containers are labelled with, of each environment the newest; None if there are
        no containers. Any service's container has it: the main one may not be created yet, or be gone."""
        labels = [self.engine.spec(i.id).labels for i in self.engine.there()]
        of_name = sorted((b for b in labels if b.subject == f"name:{name}"), key=lambda b: b.generation)
        return set({b.environment: b.parameters["V"] for b in of_name}.values()) or {None}


async def end_all_tasks(but: Collection[asyncio.Task[Any]] = ()) -> None:
    """Cancel what still runs, in the order in which it was begun: a set has another one each time."""
    tasks = asyncio.all_tasks() - {asyncio.current_task(), *but}
    for task in sorted(tasks, key=lambda task: int(task.get_name().rpartition("-")[2])):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
