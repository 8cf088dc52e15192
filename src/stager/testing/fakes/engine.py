"""A fake engine: its containers are entries in a table, its images are programs of a few facts each. It also
answers the requests to the endpoints of its containers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from stager.domain.environment import Instance, InstanceLabels, InstanceState
from stager.domain.errors import Fault, Retry
from stager.domain.leftovers import Leftover, LeftoverKind
from stager.domain.profile import ProfileName
from stager.domain.route import Endpoint
from stager.ports.clock import Clock
from stager.ports.data import VolumeKey
from stager.ports.engine import (
    Checked,
    Consumption,
    InstanceSpec,
    Listener,
    Ran,
    Reclaim,
    Size,
    Volume,
    check_volume_names,
)
from stager.ports.firewall import Firewall
from stager.testing.fakes.clock import FakeClock
from stager.testing.fakes.feed import Feed
from stager.testing.fakes.program import Inner, Program
from stager.testing.fakes.terminal import FakeTerminal
from stager.testing.fakes.volumes import FakeVolumes

KILLED = 137
"""The exit code after SIGKILL: 128 + 9."""
MISSING = 127
"""The exit code for a missing command (POSIX, Shell & Utilities, 2.8.2)."""
MEMORY = 10 << 20
"""Bytes that an instance uses, unless a test says otherwise."""
WRITTEN = 1 << 20
"""Bytes that an environment has written, unless a test says otherwise."""
OUTPUT_KEPT = 64 * 1024
"""Characters of a command's output that are kept: the last ones."""
ALIVE = (InstanceState.RUNNING, InstanceState.PAUSED)
IN_USE = 30_000_000
"""Bytes of memory of an instance that runs."""


@dataclass(frozen=True, slots=True)
class _Container:
    spec: InstanceSpec
    instance: Instance
    endpoint: Endpoint

    @property
    def summary(self) -> Instance:
        """As in an engine's list: without what only an inspection returns."""
        return replace(self.instance, started_at="", exit_code=None, endpoint=None)


class FakeEngine:
    """See `stager.ports.engine`: `Images`, `Instances`, `Power` and `Prober`.

    Args:
        clock: for the times of starts.
        firewall: guards instances before they start; None for no firewall.

    Attributes:
        delays: seconds that a method takes, by its name; 0 by default.
        asked: host and path of each health check's request, in order.
        ran: instance and command of each command that was run inside, in order.
        used_memory: bytes that each running instance of an environment uses, by the environment's id.
        processor_time: seconds that an environment's instances have used, by its id.
        can_pause: see `ports.engine.Power.can_pause`.
        used_disk: bytes that an environment has written, by its id.
        stored: the contents of volumes, and the snapshots, which `FakeData` makes.
        support: what the machine can do with the memory of paused instances.
        reclaimed: the paused instances whose memory was taken back.
    """

    def __init__(self, clock: Clock | None = None, firewall: Firewall | None = None) -> None:
        self.firewall = firewall
        self.delays: dict[str, float] = {}
        self.asked: list[tuple[str, str]] = []
        self.ran: list[tuple[str, tuple[str, ...]]] = []
        self.used_memory: dict[str, int] = {}
        self.processor_time: dict[str, float] = {}
        self.used_disk: dict[str, int] = {}
        self.can_pause = True
        self.stored = FakeVolumes()
        self.support = Reclaim("a fake", "4.0 GB of zram")
        self.reclaimed: list[str] = []
        self._clock = clock or FakeClock()
        self._images: dict[str, str] = {}
        self._programs: dict[str, Program] = {}
        self._containers: dict[str, _Container] = {}
        self._networks: set[str] = set()
        self._volumes: set[tuple[str, str, int]] = set()
        self._kept: set[tuple[str, str, int]] = set()
        """Those of `_volumes` that belong to their environment."""
        self._prepared: set[str] = set()
        self._feed = Feed()
        self._printed = Feed()
        self._terminals: list[tuple[str, FakeTerminal]] = []
        self._away = False
        self._made = 0
        self._named = 0
        self._starts = 0

    # The state of the fake.

    def add_image(self, reference: str, program: Program | None = None) -> str:
        """Add an image with this name and program. Returns its id."""
        self._named += 1
        image = f"sha256:{self._named:064x}"
        self._images[reference] = image
        self._programs[image] = program or Program()
        return image

    def has_image(self, image: str) -> bool:
        """Whether the image with this id exists; works while the engine is away."""
        return image in self._programs

    def remove_image(self, image: str) -> None:
        """Remove the image with this id and its names; no effect while a container has it."""
        if any(c.spec.image == image for c in self._containers.values()):
            return
        self._images = {name: named for name, named in self._images.items() if named != image}
        self._programs.pop(image, None)

    def change(self, instance: str, program: Program) -> None:
        """Change the program of this instance's image."""
        self._programs[self._containers[instance].spec.image] = program

    def end(self, instance: str, exit_code: int = KILLED, *, hungry: bool = False) -> None:
        """End the instance's process, as if it exited or was stopped from outside.

        Args:
            hungry: because it exceeded its memory limit.
        """
        container = self._containers[instance]
        exceeded = container.spec.profile.limits.memory if hungry else 0
        ended = replace(self._stopped(container.instance), exit_code=exit_code, memory_exceeded=exceeded)
        self._set(instance, ended)
        self._ended(instance)

    def lose(self, instance: str) -> None:
        """Remove the instance, as another client of the engine does."""
        self._feed.tell(self._containers.pop(instance).instance.environment)
        self._ended(instance)

    def print(self, instance: str, line: str) -> None:
        """Have all containers of this instance's image print a line."""
        program = self._programs[self._containers[instance].spec.image]
        self.change(instance, replace(program, output="\n".join(filter(None, [program.output, line]))))
        self._printed.tell(f"{instance} {line}")

    @property
    def is_followed(self) -> bool:
        """Whether the output of an instance is followed."""
        return self._printed.is_followed

    @property
    def terminals(self) -> list[FakeTerminal]:
        """The opened terminals, oldest first."""
        return [terminal for _, terminal in self._terminals]

    def leave(self) -> None:
        """Be unavailable until `come_back`: every call fails, and there are no events."""
        self._away = True
        self._printed.tell("")
        self._feed.interrupt()

    def come_back(self) -> None:
        self._away = False
        self._feed.resume()

    @property
    def is_away(self) -> bool:
        """Whether every call fails now."""
        return self._away

    def there(self, environment: str | None = None) -> list[Instance]:
        """All instances, or one environment's, with all their facts; works while the engine is away."""
        every = [c.instance for c in self._containers.values()]
        return [i for i in every if environment in (None, i.environment)]

    def spec(self, instance: str) -> InstanceSpec:
        """What the instance was created from."""
        return self._containers[instance].spec

    def program(self, image: str) -> Program:
        """What the image with this id does."""
        return self._programs[image]

    def uses(self, volume: VolumeKey) -> bool:
        """Whether an instance that runs or is paused has this volume."""
        return any(
            c.instance.environment == volume.environment
            and c.instance.state in ALIVE
            and mount.volume == volume.name
            and c.spec.number_of(mount.volume) == volume.number
            for c in self._containers.values()
            for mount in c.spec.container.mounts
        )

    def variables(self, instance: str) -> dict[str, str]:
        """All environment variables of the instance."""
        spec = self._containers[instance].spec
        image = self._programs[spec.image].variables
        return {**spec.fallbacks, **image, **spec.variables, **spec.per_commit}

    @property
    def networks(self) -> frozenset[str]:
        """The networks that exist."""
        return frozenset(self._networks)

    @property
    def volume_names(self) -> frozenset[tuple[str, str, int]]:
        """Environment, name and number (see `InstanceSpec.number_of`) of the named volumes that weren't swept
        yet."""
        return frozenset(self._volumes)

    def reached(self, instance: str, name: str) -> frozenset[str]:
        """The ids of the running instances that this one reaches by this name."""
        here = self._containers[instance].instance
        return frozenset(
            other.instance.id
            for other in self._containers.values()
            if name in other.spec.aliases
            and other.instance.state is InstanceState.RUNNING
            and here.environment == other.instance.environment
            and here.generations & other.instance.generations
        )

    # The port.

    async def resolve(self, reference: str) -> str:
        await self._turn("resolve")
        if self.has_image(reference):
            return reference
        if reference not in self._images:
            raise Fault(f'The image "{reference}" can\'t be found.', reason="image-missing")
        return self._images[reference]

    async def find(self, environment: str | None = None) -> list[Instance]:
        await self._turn("find")
        if environment is None:
            return [c.summary for c in self._containers.values()]
        return self.there(environment)

    async def find_with_labels(self) -> list[tuple[Instance, InstanceLabels]]:
        await self._turn("find_with_labels")
        return [(c.summary, c.spec.labels) for c in self._containers.values()]

    @asynccontextmanager
    async def prepared(
        self,
        environment: str,
        profile: ProfileName,  # noqa: ARG002
        network: int = 0,
    ) -> AsyncIterator[None]:
        name = _network(environment, network)
        self._networks.add(name)
        self._prepared.add(name)
        try:
            yield
        finally:
            self._prepared.remove(name)

    async def create(self, spec: InstanceSpec) -> Instance:
        await self._turn("create")
        wanted = spec.labels.deployment, spec.labels.service
        existing = (
            c for c in self._containers.values() if (c.instance.deployment, c.instance.service) == wanted
        )
        container = next(existing, None) or self._make(spec)
        return container.summary

    async def join(self, instance: str, generation: int) -> Instance:
        await self._turn("join")
        container = self._containers.get(instance)
        if container is None:
            raise Retry("The container was removed before it joined.", reason="instance-gone")
        network = _network(container.instance.environment, generation)
        if self.firewall is not None:
            await self.firewall.guard(network, container.spec.labels)
        self._join(instance, generation)
        return self._containers[instance].summary

    def _join(self, instance: str, generation: int) -> None:
        now = self._containers[instance].instance
        network = _network(now.environment, generation)
        self._networks.add(network)
        joined = now.joined | ({network} - {now.network})
        self._containers[instance] = replace(
            self._containers[instance],
            instance=replace(now, joined=joined, generations=now.generations | {generation}),
        )

    async def start(self, instance: str) -> Instance:
        await self._turn("start")
        container = self._containers.get(instance)
        if container is None:
            raise Retry("The container was removed before it started.", reason="instance-gone")
        if self.firewall is not None:
            for network in container.instance.networks:
                await self.firewall.guard(network, container.spec.labels)
        program = self._programs[container.spec.image]
        if not program.starts:
            raise Fault("The container can't be started.", reason="start-failed")
        if container.instance.state is InstanceState.PAUSED:
            await self.unpause(instance)
        elif container.instance.state is not InstanceState.RUNNING:
            self._set(instance, self._running(container))
            if program.exit_code is not None:
                self.end(instance, program.exit_code, hungry=program.hungry)
        return self._containers[instance].instance

    async def stop(self, instance: str) -> int:
        await self._turn("stop")
        if instance not in self._containers:
            raise Retry("The container was removed before it stopped.", reason="instance-gone")
        container = self._containers[instance]
        if container.instance.state in ALIVE:
            self.end(instance, self._programs[container.spec.image].stop_code)
        return self._containers[instance].instance.exit_code or 0

    async def pause(self, instance: str) -> None:
        await self._turn("pause")
        now = self._alive(instance)
        if now.state is InstanceState.RUNNING:
            self._set(instance, replace(now, state=InstanceState.PAUSED, endpoint=None))

    async def unpause(self, instance: str) -> None:
        await self._turn("unpause")
        now = self._alive(instance)
        if now.state is InstanceState.PAUSED:
            endpoint = self._containers[instance].endpoint
            self._set(instance, replace(now, state=InstanceState.RUNNING, endpoint=endpoint))

    async def reclaim(self, instance: str) -> int | None:
        await self._turn("reclaim")
        if not self.support.works or not self._is_paused(instance):
            return None
        if instance in self.reclaimed:
            return 0
        self.reclaimed.append(instance)
        return IN_USE

    async def reclaim_support(self) -> Reclaim:
        return self.support

    def _alive(self, instance: str) -> Instance:
        if not self._runs(instance):
            raise Retry("The container doesn't run.", reason="instance-gone")
        return self._containers[instance].instance

    async def remove(self, instance: str) -> None:
        await self._turn("remove")
        if instance in self._containers:
            self.lose(instance)

    async def logs(self, instance: str, lines: int) -> str:
        await self._turn("logs")
        container = self._containers.get(instance)
        if container is None or not container.instance.started_at:
            return ""
        output = self._programs[container.spec.image].output
        return "\n".join(output.splitlines()[-lines:])

    async def post_mortem(self, instance: str, words: str) -> str:  # noqa: ARG002
        await self._turn("post_mortem")
        container = self._containers.get(instance)
        return self._programs[container.spec.image].post_mortem if container else ""

    async def follow(self, instance: str, lines: int) -> AsyncIterator[str]:
        printed = self._printed.follow()
        try:
            await anext(printed)  # from now on no line is missed
            if so_far := await self.logs(instance, lines):
                yield f"{so_far}\n"
            while self._runs(instance):
                whose, _, text = (await anext(printed)).partition(" ")
                await self._turn("follow")
                if whose == instance and text:
                    yield f"{text}\n"
        finally:
            await printed.aclose()  # type: ignore[attr-defined]

    async def check(self, instance: str) -> Checked | None:
        await self._turn("check")
        if not self._runs(instance) or self._is_paused(instance):
            return Checked(healthy=False)
        program = self._programs[self._containers[instance].spec.image]
        await asyncio.sleep(program.check_seconds)
        if program.healthy is None:
            return None
        return Checked(program.healthy if program.checkable else None, program.check_output)

    async def listeners(self, instance: str) -> tuple[Listener, ...] | None:
        await self._turn("listeners")
        if not self._runs(instance):
            return None
        return self._programs[self._containers[instance].spec.image].listeners

    async def run(self, instance: str, command: Sequence[str], timeout: float) -> Ran:
        await self._turn("run")
        inner = self._run(instance, command)
        if not inner.there:
            raise Fault(f"`{command[0]}` can't be run in the instance.", reason="hook-failed")
        await asyncio.sleep(min(inner.seconds, timeout))
        return Ran(inner.exit_code if inner.seconds <= timeout else None, inner.output[-OUTPUT_KEPT:])

    async def open(self, instance: str, command: Sequence[str], size: Size, kind: str) -> FakeTerminal:
        await self._turn("open")
        inner = self._run(instance, command)
        terminal = FakeTerminal(inner.output, inner.exit_code, size, kind, listens=inner.listens)
        if not inner.there:
            terminal = FakeTerminal(f"{command[0]}: not found", MISSING, size, kind)
        self._terminals.append((instance, terminal))
        return terminal

    def _run(self, instance: str, command: Sequence[str]) -> Inner:
        """The command's result in this instance, which must run."""
        if not self._runs(instance) or self._is_paused(instance):
            raise Retry("The instance doesn't run.", reason="instance-gone")
        self.ran.append((instance, tuple(command)))
        program = self._programs[self._containers[instance].spec.image]
        return program.inner.get(command[0], Inner())

    def _ended(self, instance: str) -> None:
        """End what follows this instance."""
        self._printed.tell(f"{instance} ")
        for terminal in [terminal for whose, terminal in self._terminals if whose == instance]:
            terminal.end()

    def _runs(self, instance: str) -> bool:
        container = self._containers.get(instance)
        return container is not None and container.instance.state in ALIVE

    def _is_paused(self, instance: str) -> bool:
        container = self._containers.get(instance)
        return container is not None and container.instance.state is InstanceState.PAUSED

    async def volumes(self, environment: str) -> list[Volume]:
        await self._turn("volumes")
        return [
            Volume(name, number, 0) for owner, name, number in sorted(self._volumes) if owner == environment
        ]

    async def memory(self) -> dict[str, int]:
        await self._turn("memory")
        total: Counter[str] = Counter()
        for container in self._containers.values():
            if container.instance.state is InstanceState.RUNNING:
                environment = container.instance.environment
                total[environment] += self.used_memory.get(environment, MEMORY)
        return dict(total)

    async def consumption(self) -> dict[str, Consumption]:
        used = await self.memory()
        return {id_: Consumption(memory, self.processor_time.get(id_, 0.0)) for id_, memory in used.items()}

    async def disk(self) -> dict[str, int]:
        await self._turn("disk")
        present = {container.instance.environment for container in self._containers.values()}
        return {environment: self.used_disk.get(environment, WRITTEN) for environment in present}

    async def sweep(self, present: Mapping[str, Collection[int]] | None = None) -> int:
        await self._turn("sweep")
        there = [container.instance for container in self._containers.values()]
        networks, volumes = self._unused(present)
        self._networks -= networks
        self._volumes -= volumes
        self._kept -= volumes
        for environment, name, number in volumes:
            self.stored.drop(VolumeKey(environment, name, number))
        for instance in there:
            gone = instance.joined & networks
            left = instance.generations - {_generation(network) for network in gone}
            container = self._containers[instance.id]
            now = replace(instance, joined=instance.joined - gone, generations=left)
            self._containers[instance.id] = replace(container, instance=now)
        return len(networks) + len(volumes)

    async def leftovers(self, present: Mapping[str, Collection[int]] | None = None) -> list[Leftover]:
        await self._turn("leftovers")
        networks, volumes = self._unused(present)
        return [
            *(Leftover(LeftoverKind.NETWORK, name, "no container is in it") for name in sorted(networks)),
            *(
                Leftover(LeftoverKind.VOLUME, f"{owner}-{name}-{number}", "nothing uses it", owner, 0)
                for owner, name, number in sorted(volumes)
            ),
        ]

    def _unused(
        self, present: Mapping[str, Collection[int]] | None
    ) -> tuple[set[str], set[tuple[str, str, int]]]:
        """The networks and volumes that nothing needs."""
        there = [container.instance for container in self._containers.values()]
        newest = {
            i.environment: max(o.generation for o in there if o.environment == i.environment) for i in there
        }
        ahead = {n for i in there for n in i.joined if _generation(n) >= newest[i.environment]}
        networks = self._networks - self._prepared - {i.network for i in there} - ahead
        return networks, {each for each in self._volumes if not self._is_needed(each, present)}

    def _is_needed(self, volume: tuple[str, str, int], present: Mapping[str, Collection[int]] | None) -> bool:
        environment, name, number = volume
        specs = [c.spec for c in self._containers.values() if c.instance.environment == environment]
        if any(name == m.volume and s.number_of(name) == number for s in specs for m in s.container.mounts):
            return True
        if volume not in self._kept:
            return any(number == spec.labels.generation for spec in specs)
        if present is None:
            return True
        if environment in present:
            return number in present[environment]
        return any(number == spec.volume_epoch for spec in specs)

    def events(self) -> AsyncIterator[str]:
        return self._feed.follow()

    async def answers(self, endpoint: Endpoint, host: str, path: str, timeout: float = 10.0) -> int | None:
        """See `Prober.answers`. Containers answer while the engine is away. A paused one answers once it goes
        on."""
        delay = self.delays.get("answers", 0)
        self.asked.append((host, path))
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(delay)
                while self._is_paused_at(endpoint):  # noqa: ASYNC110 (any change may end it)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return None
        program = self._at(endpoint)
        return program.status if program else None

    async def accepts(self, endpoint: Endpoint) -> bool | None:
        """See `Prober.accepts`."""
        program = self._at(endpoint)
        if program is None:
            return self._is_paused_at(endpoint)  # the kernel accepts
        return True if program.status is not None else program.accepts

    def _is_paused_at(self, endpoint: Endpoint) -> bool:
        paused = (c for c in self._containers.values() if c.instance.state is InstanceState.PAUSED)
        return any(c.endpoint == endpoint for c in paused)

    def _at(self, endpoint: Endpoint) -> Program | None:
        """The program at this endpoint."""
        running = (c for c in self._containers.values() if c.instance.endpoint == endpoint)
        container = next(running, None)
        return self._programs[container.spec.image] if container else None

    def refusal(self, endpoint: Endpoint) -> str:
        """See `Prober.refusal`."""
        program = self._at(endpoint)
        return program.refusal if program else ""

    async def _turn(self, method: str) -> None:
        await asyncio.sleep(self.delays.get(method, 0))
        if self._away:
            raise Retry("The engine doesn't answer.", reason="engine-away")

    def _make(self, spec: InstanceSpec) -> _Container:
        if spec.image not in self._programs:
            raise Fault(f"There is no image {spec.image}.", reason="create-failed")
        check_volume_names(spec)
        self._made += 1
        labels = spec.labels
        network = _network(labels.environment, spec.network)
        self._networks.add(network)
        for name in {mount.volume for mount in spec.container.mounts if mount.volume}:
            volume = (labels.environment, name, spec.number_of(name))
            self.stored.create(VolumeKey(*volume), spec.clones.get(name))
            self._volumes.add(volume)
            if name not in spec.fresh_volumes:
                self._kept.add(volume)
        instance = Instance(
            f"container{self._made:04}",
            labels.environment,
            labels.service,
            labels.deployment,
            labels.generation,
            InstanceState.CREATED,
            network=network,
            inputs=spec.inputs,
            generations=frozenset({spec.network} - {0}),
        )
        endpoint = Endpoint(f"10.200.{self._made >> 8}.{self._made & 255}", spec.container.port or 0)
        self._containers[instance.id] = _Container(spec, instance, endpoint)
        if spec.aliases and not spec.network:
            self._join(instance.id, labels.generation)
        return self._containers[instance.id]

    def _running(self, container: _Container) -> Instance:
        self._starts += 1
        # Two starts never have the same timestamp, even with a stopped clock.
        started = self._clock.now() + timedelta(microseconds=self._starts)
        return replace(
            container.instance,
            state=InstanceState.RUNNING,
            started_at=started.isoformat(),
            exit_code=None,
            memory_exceeded=0,
            endpoint=container.endpoint,
        )

    @staticmethod
    def _stopped(instance: Instance) -> Instance:
        return replace(instance, state=InstanceState.STOPPED, endpoint=None)

    def _set(self, instance: str, to: Instance) -> None:
        if to.state is not InstanceState.PAUSED:
            self.reclaimed = [each for each in self.reclaimed if each != instance]
        self._containers[instance] = replace(self._containers[instance], instance=to)
        self._feed.tell(to.environment)


def _network(environment: str, generation: int = 0) -> str:
    return f"network-{environment}-g{generation}" if generation else f"network-{environment}"


def _generation(network: str) -> int:
    """The generation that a network belongs to; 0 for none."""
    _, _, digits = network.rpartition("-g")
    return int(digits) if digits.isdecimal() else 0
