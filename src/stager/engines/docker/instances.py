"""Our containers: made, started, found again and removed. Every call may be repeated."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import aiodocker
import aiohttp
import structlog
from aiodocker.events import DockerEvents

from stager.domain.environment import Instance, InstanceLabels, InstanceState
from stager.domain.errors import Fault, Retry
from stager.domain.profile import ProfileName
from stager.domain.route import Endpoint
from stager.engines.docker import labels, seccomp
from stager.engines.docker.client import engine_errors
from stager.engines.docker.create_parameters import NO_CORE, OPEN_FILES, create_body, is_read_only
from stager.engines.docker.exec_in_container import check, run_inside
from stager.engines.docker.network.listening_ports import listeners_of
from stager.engines.docker.network.pool import Lease, NetworkPool
from stager.engines.docker.network.prepared_networks import NetworksAhead
from stager.engines.docker.post_mortem import post_mortem
from stager.engines.docker.terminal import open_terminal
from stager.engines.docker.volumes import ImageVolumes
from stager.ports.engine import Checked, InstanceSpec, Listener, Ran, Size, Terminal
from stager.ports.firewall import Firewall

log = structlog.get_logger(__name__)

STATES = {
    "created": InstanceState.CREATED,
    "running": InstanceState.RUNNING,
    "paused": InstanceState.RUNNING,
}
"""Docker's words for ours; all its others (exited, dead, removing) mean that it ended. One that is paused
hasn't: `docker commit` pauses what it copies."""

EVENTS = ["start", "die", "destroy"]
TO_BLAME = ("OCI runtime", "unable to find user", "unable to find group")
"""By these words Docker's errors of its own are the image's or the configuration's fault."""

STUCK = ": already exists"
"""What Docker says to each start of a container whose last run it lost count of, as when it is restarted at
the wrong moment: its containerd still has the task."""

NOT_RAISED = "error setting rlimit"
"""What runc says where the engine may not give a container more than it has itself, as in containers and
without root."""

REDIAL = 2.0
"""Seconds until the event stream is asked for again after it broke."""

STARTS_AT_ONCE = 8
"""Containers that are started at the same time. Docker starts no more of them in a second when it is asked
for more at once (measured by hand, on two cores: 32 took as long 8 at a time), and meanwhile nobody else on
the machine gets a turn."""

UNREADABLE = 501
"""What Docker answers when a container's log driver keeps nothing, as `none` does."""

LINE_LIMIT = 2_000
"""Characters of one line of a log that are worth showing."""


class DockerInstances:
    """See `ports.engine.Instances`.

    Args:
        installation: the id by which what is ours is known.
        firewall: what guards them; None where nothing does.
        loopback: whether containers are reached by a port published on 127.0.0.1 instead of their own
            address, where the host can't dial that.
    """

    def __init__(
        self,
        docker: aiodocker.Docker,
        installation: str,
        networks: NetworkPool,
        *,
        firewall: Firewall | None = None,
        loopback: bool = False,
    ) -> None:
        self._docker = docker
        self._firewall = firewall
        self._installation = installation
        self._networks = networks
        self._loopback = loopback
        self._fresh: dict[str, tuple[str, InstanceLabels]] = {}
        """Network and birth of containers that weren't started yet, which needn't be asked for."""
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self._ahead = NetworksAhead(networks)
        self._volumes = ImageVolumes(docker, installation)
        self._takes_profile: bool | None = None
        self._ulimits: Sequence[Mapping[str, Any]] = (NO_CORE, OPEN_FILES)

    async def find(self, environment: str | None = None) -> list[Instance]:
        """See `ports.engine.Instances.find`."""
        found = await self._list(environment)
        if environment is None:
            return [self._summarised(container) for container in found]
        inspected = [await self._inspect(container["Id"]) for container in found]
        return [self._instance(container) for container in inspected if container]

    async def births(self) -> list[tuple[Instance, InstanceLabels]]:
        """See `ports.engine.Instances.births`."""
        born = []
        for container in await self._list(None):
            try:
                birth = labels.to_birth(container["Labels"])
            except (KeyError, ValueError, TypeError) as error:
                log.warning("container_labels_unreadable", container=container["Id"], error=repr(error))
            else:
                born.append((self._summarised(container), birth))
        return born

    def prepared(self, environment: str, profile: ProfileName) -> AbstractAsyncContextManager[None]:
        """See `ports.engine.Instances.prepared`."""

        async def has_none() -> bool:
            return not await self._list(environment)

        return self._ahead.expecting(environment, profile, has_none)

    async def create(self, spec: InstanceSpec) -> Instance:
        """See `ports.engine.Instances.create`."""
        others = await self._list(spec.birth.environment)
        mine = next((c for c in others if c["Labels"][labels.DEPLOYMENT] == spec.birth.deployment), None)
        if mine is not None:
            return self._summarised(mine)
        # The firewall tells profiles apart by the bridge, so instances of two profiles never share a network.
        alike = [c["Labels"] for c in others if c["Labels"].get(labels.PROFILE) == spec.birth.profile.value]
        network = next((each[labels.NETWORK] for each in alike), "")
        network = network or await self._ahead.network(spec.birth.environment)
        taken = [c["Labels"][labels.ADDRESS] for c in others]
        lease = await self._networks.lease(spec.birth.environment, spec.birth.profile, network, taken)
        try:
            return await self._create_at(spec, lease)
        finally:
            self._networks.release(lease.network)

    async def _create_at(self, spec: InstanceSpec, lease: Lease) -> Instance:
        spec = await self._with_fallbacks(spec)
        name = self._name(spec.birth.deployment)
        with engine_errors():
            try:
                body = await self._body(spec, lease)
                made = await self._docker.containers.create(body, name=name)
            except aiodocker.DockerError as error:
                if error.status >= 500:
                    raise
                if error.status == 409:  # an earlier call was given up, and Docker is still at it
                    raise Retry("The container is being made.", reason="create-conflict") from error
                raise Fault(
                    f"Docker refuses to make the container: {error.message}",
                    hint="The image's `container_create_params` in the configuration are the first suspect.",
                    reason="create-failed",
                ) from error
        if self._firewall is not None:
            self._fresh[made.id] = lease.network, spec.birth
        return Instance(
            made.id,
            spec.birth.environment,
            spec.birth.deployment,
            spec.birth.generation,
            InstanceState.CREATED,
            network=lease.network,
        )

    async def _body(self, spec: InstanceSpec, lease: Lease) -> dict[str, Any]:
        return create_body(
            spec,
            self._installation,
            lease,
            publish=self._loopback,
            seccomp_profile=await self._profile(),
            ulimits=self._ulimits,
            volumes=await self._volumes.options(spec.image) if is_read_only(spec) else {},
        )

    async def _profile(self) -> str:
        """The seccomp profile, where the engine takes one; it is asked once."""
        if self._takes_profile is None:
            self._takes_profile = await seccomp.takes_profile(self._docker)
        return seccomp.profile() if self._takes_profile else ""

    async def _with_fallbacks(self, spec: InstanceSpec) -> InstanceSpec:
        """With those of its fallbacks among the variables that the image doesn't set."""
        if not spec.fallbacks:
            return spec
        with engine_errors():
            try:
                image = await self._docker.images.inspect(spec.image)
            except aiodocker.DockerError as error:
                if error.status != 404:
                    raise
                return spec  # the create call says that it isn't there
        named = {pair.partition("=")[0] for pair in image["Config"].get("Env") or ()}
        fallbacks = {name: value for name, value in spec.fallbacks.items() if name not in named}
        return replace(spec, variables={**fallbacks, **spec.variables})

    async def start(self, instance: str) -> Instance:
        """See `ports.engine.Instances.start`."""
        if self._firewall is not None:
            await self._guard(instance, self._firewall)
        with engine_errors():
            try:
                async with self._starting:
                    await self._docker.containers.container(instance).start()
            except aiodocker.DockerError as error:
                if error.status >= 500 and not any(words in error.message for words in (*TO_BLAME, STUCK)):
                    raise
                raise await self._start_error(instance, error) from error
        container = await self._inspect(instance)
        if container is None:
            raise Retry("The container was removed while it started.", reason="instance-gone")
        return self._instance(container)

    async def _guard(self, instance: str, firewall: Firewall) -> None:
        fresh = self._fresh.pop(instance, None)
        if fresh is None:
            container = await self._inspect(instance)
            if container is None:
                raise Retry("The container was removed before it started.", reason="instance-gone")
            marks = container["Config"]["Labels"]
            fresh = network, birth = marks[labels.NETWORK], labels.to_birth(marks)
            if not await self._networks.holds(network, birth.profile):
                await self.remove(instance)
                raise Retry(
                    "The firewall doesn't know the network of this container, so another one is made.",
                    reason="network-unknown",
                )
        await firewall.guard(*fresh)

    async def _start_error(self, instance: str, error: aiodocker.DockerError) -> Exception:
        if error.status == 404 and "network" in error.message:
            # Its network was removed behind our back; the next one is made with a network of its own.
            await self.remove(instance)
            return Retry("The container's network was removed.", reason="network-gone")
        if STUCK in error.message:
            await self.remove(instance)
            return Retry(
                f"Docker can't start the container any more, so another is made: {error.message}",
                reason="instance-stuck",
            )
        if NOT_RAISED in error.message and OPEN_FILES in self._ulimits:
            self._ulimits = (NO_CORE,)
            await self.remove(instance)
            return Retry(
                "Docker's own limit of open files is below the one of the container, so another is made "
                "without that limit.",
                reason="limit-not-raised",
            )
        if error.status == 404 and "No such container" in error.message:
            return Retry("The container was removed before it started.", reason="instance-gone")
        found = await post_mortem(self._docker, instance, error.message)
        return Fault(
            f"The container can't be started: {error.message}",
            hint=found or "Is the command in the image? `images.NAME.command` in the configuration names it.",
            reason="start-failed",
        )

    async def remove(self, instance: str) -> None:
        """See `ports.engine.Instances.remove`."""
        self._fresh.pop(instance, None)
        container = self._docker.containers.container(instance)
        with engine_errors():
            try:
                await container.stop()  # with the grace that it was made with
                await container.delete(v=True, force=True)
            except aiodocker.DockerError as error:
                if error.status not in (404, 409):  # it is gone, or somebody else is removing it
                    raise

    async def logs(self, instance: str, lines: int) -> str:
        """See `ports.engine.Instances.logs`."""
        with engine_errors():
            try:
                pieces = await self._docker.containers.container(instance).log(
                    stdout=True, stderr=True, tail=lines
                )
            except aiodocker.DockerError as error:
                if error.status in (404, 409, UNREADABLE):
                    return ""
                raise
        shown = (line.rstrip()[:LINE_LIMIT] for line in "".join(pieces).splitlines())
        return "\n".join(shown)

    async def post_mortem(self, instance: str, words: str) -> str:
        """See `ports.engine.Instances.post_mortem`."""
        return await post_mortem(self._docker, instance, words)

    async def follow(self, instance: str, lines: int) -> AsyncIterator[str]:
        """See `ports.engine.Instances.follow`."""
        container = self._docker.containers.container(instance)
        with engine_errors():
            try:
                async for piece in container.log(stdout=True, stderr=True, follow=True, tail=lines):
                    yield piece
            except aiodocker.DockerError as error:
                if error.status not in (404, 409, UNREADABLE):
                    raise

    async def check(self, instance: str) -> Checked | None:
        """See `ports.engine.Instances.check`."""
        return await check(self._docker, instance)

    async def listeners(self, instance: str) -> tuple[Listener, ...] | None:
        """See `ports.engine.Instances.listeners`."""
        return await listeners_of(self._docker, instance)

    async def run(self, instance: str, command: Sequence[str], timeout: float) -> Ran:
        """See `ports.engine.Instances.run`."""
        return await run_inside(self._docker, instance, command, timeout)

    async def open(self, instance: str, command: Sequence[str], size: Size, kind: str) -> Terminal:
        """See `ports.engine.Instances.open`."""
        return await open_terminal(self._docker, instance, command, size, kind)

    async def sweep(self) -> int:
        """See `ports.engine.Instances.sweep`."""
        return await self._networks.sweep(self._used_networks)

    async def _used_networks(self) -> set[str]:
        return {container["Labels"].get(labels.NETWORK, "") for container in await self._list(None)}

    async def events(self) -> AsyncIterator[str]:
        """See `ports.engine.Instances.events`."""
        while True:
            try:
                async for environment in self._stream():
                    yield environment
            except (aiodocker.DockerError, aiohttp.ClientError, OSError) as error:
                log.info("engine_events_interrupted", error=str(error))
            await asyncio.sleep(REDIAL)

    async def _stream(self) -> AsyncIterator[str]:
        """One connection's worth of events. A restarted engine replays nothing, so each starts with an
        empty id."""
        stream = DockerEvents(self._docker)
        ours = {"type": ["container"], "event": EVENTS, "label": [self._label]}
        subscriber = stream.subscribe(filters=aiodocker.utils.clean_filters(ours))
        try:
            yield ""
            while (event := await subscriber.get()) is not None:
                yield event["Actor"]["Attributes"].get(labels.ENVIRONMENT, "")
        finally:
            if stream.task is not None:
                stream.task.cancel()
                await asyncio.gather(stream.task, return_exceptions=True)

    @property
    def _label(self) -> str:
        return f"{labels.INSTALLATION}={self._installation}"

    async def _list(self, environment: str | None) -> list[dict[str, Any]]:
        with engine_errors():
            found = await self._docker.containers.list(
                all=1, filters=labels.filters(self._installation, environment)
            )
        rows = [container._container for container in found]  # noqa: SLF001 (aiodocker's only way to the answer)
        return [row for row in rows if self._is_ours(row)]

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        """Whether we made it. An image that was committed from one of ours hands our labels on to whatever
        people run of it, but not the name."""
        return f"/{self._name(row['Labels'].get(labels.DEPLOYMENT, ''))}" in (row["Names"] or ())

    def _name(self, deployment: str) -> str:
        return f"stager-{self._installation}-{deployment}"

    async def _inspect(self, container: str) -> dict[str, Any] | None:
        with engine_errors():
            try:
                return await self._docker.containers.container(container).show()
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return None
                raise

    def _summarised(self, container: Mapping[str, Any]) -> Instance:
        """From a row of Docker's list, which lacks the time of the start."""
        state = STATES.get(container["State"], InstanceState.STOPPED)
        return self._of_labels(container["Id"], container["Labels"], state)

    def _instance(self, container: Mapping[str, Any]) -> Instance:
        """From Docker's inspect call."""
        facts = container["State"]
        state = STATES.get(facts["Status"], InstanceState.STOPPED)
        running = state is InstanceState.RUNNING
        return self._of_labels(
            container["Id"],
            container["Config"]["Labels"],
            state,
            started_at="" if state is InstanceState.CREATED else facts["StartedAt"],
            exit_code=None if running else facts["ExitCode"],
            memory_exceeded=_memory_exceeded(container),
            endpoint=self._endpoint(container) if running else None,
        )

    def _of_labels(
        self, container: str, marks: Mapping[str, str], state: InstanceState, **facts: Any
    ) -> Instance:
        return Instance(
            container,
            environment=marks[labels.ENVIRONMENT],
            deployment=marks[labels.DEPLOYMENT],
            generation=int(marks[labels.GENERATION]),
            state=state,
            network=marks[labels.NETWORK],
            **facts,
        )

    def _endpoint(self, container: Mapping[str, Any]) -> Endpoint | None:
        marks = container["Config"]["Labels"]
        port = marks[labels.PORT]
        if self._loopback:
            published = (container["NetworkSettings"]["Ports"] or {}).get(f"{port}/tcp") or []
            return Endpoint(published[0]["HostIp"], int(published[0]["HostPort"])) if published else None
        network = container["NetworkSettings"]["Networks"].get(marks[labels.NETWORK]) or {}
        address = network.get("IPAddress") or ""
        return Endpoint(address, int(port)) if address else None


def _memory_exceeded(container: Mapping[str, Any]) -> int:
    """See `Instance.memory_exceeded`. Docker notes it when any process of the container was killed for that;
    one that went on and ended well, or was stopped, didn't end by it."""
    facts = container["State"]
    ended_badly = facts["Status"] != "running" and facts["ExitCode"] not in (0, 128 + signal.SIGTERM)
    return int(container["HostConfig"]["Memory"]) if facts.get("OOMKilled") and ended_badly else 0
