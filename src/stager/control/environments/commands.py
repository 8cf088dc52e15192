"""What people ask for directly: launch, kill, redeploy. `web` calls this for every surface it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import structlog

from stager.control.environments.attach import newest_of
from stager.control.environments.capacity import Capacity
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.desired_state import DesiredState, PreviewRequest, again
from stager.control.environments.lookup import (
    check_ref,
    checked_name,
    existing,
    find_named,
    is_unapproved,
    unknown,
)
from stager.control.environments.pins import Pin, save_kept
from stager.control.environments.records import Records
from stager.control.identity.access import Access
from stager.control.pull_requests.policy import FORKS_ARE_OFF, check_approval
from stager.control.reconciler.container_env import of_launch
from stager.domain.application import Application, Applications
from stager.domain.commands import Kill, Launch
from stager.domain.deployment import Deployment
from stager.domain.environment import (
    BY_POLICY,
    UNAPPROVED,
    Environment,
    EnvironmentKey,
    Suspension,
    SuspensionReason,
)
from stager.domain.errors import Refused, Retry
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.source import Trust
from stager.ports.clock import Clock
from stager.ports.engine import Instances
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

Wake = Callable[[str], None]
Tell = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """How a launch went: the environment, and the deployment that it was waited for."""

    environment: Environment
    deployment: Deployment | None

    @property
    def is_live(self) -> bool:
        """Whether the environment serves what was asked for, or something newer."""
        serving = self.environment.serving
        return serving is not None and self.deployment is not None and serving >= self.deployment.generation


class Commands:
    """Turns commands into wishes.

    Args:
        tell: shows how an environment stands, by its id.
        wake: called with an environment's id after its wish was written down.
        room: keeps the number of previews within bounds.
        access: says whether whoever asks may; everything here asks it first.
        check_branch: refuses to launch an application by hand from a branch that isn't there.
    """

    def __init__(
        self,
        *,
        store: Store,
        memory: Records,
        instances: Instances,
        applications: Applications,
        desired_state: DesiredState,
        watch: ChangeFeed,
        tell: Tell,
        wake: Wake,
        room: Capacity,
        clock: Clock,
        access: Access,
        check_branch: Callable[[Application, str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._memory = memory
        self._instances = instances
        self._applications = applications
        self._desired_state = desired_state
        self._watch = watch
        self._tell = tell
        self._wake = wake
        self._room = room
        self._clock = clock
        self._access = access
        self._check_branch = check_branch

    async def launch(self, command: Launch, actor: Actor) -> Environment:
        """Have a preview running, afresh when it runs already.

        Raises:
            Refused: with the reason; nothing has changed then.
        """
        app, name = command.image_name, command.container_name
        async with self._access.acting(actor, Action.LAUNCH, app, name):
            return await self._launch(command)

    async def _launch(self, command: Launch) -> Environment:
        application = self._applications.get(command.image_name)
        name = checked_name(command.container_name)
        parameters = of_launch(command.parameters)
        found = await self._store.read(lambda tx: find_named(tx, [application.name], name))
        if found is None or found.change is None:
            check_ref(name, application)
            await self._check_branch(application, name)
        environment = await self._store.write(lambda tx: self._launched(tx, application, name, parameters))
        log.info("launch", environment=environment.id, app=application.name, name=name)
        await self._written(environment)
        return environment

    def _launched(
        self, tx: Transaction, application: Application, name: str, parameters: dict[str, str]
    ) -> Environment:
        found = find_named(tx, [application.name], name)
        if found is None or found.change is None:
            check_ref(name, application)
            key = EnvironmentKey.of_name(application.name, name)
            return self._desired_state.run(tx, PreviewRequest(key, name, parameters=parameters))
        _let_run(tx, found)
        return self._desired_state.run(tx, again(found, parameters or found.desired.parameters))

    async def kill(self, command: Kill, actor: Actor) -> Environment | None:
        """Have a preview removed; None when there is none of this name, which is fine.

        Raises:
            Refused: with the reason; nothing has changed then.
        """
        name, app = command.container_name, command.image_name
        whose = app or await self._whose(actor, name)
        async with self._access.acting(actor, Action.KILL, whose, name):
            if app and not await self._store.read(lambda tx: _had_previews(tx, app)):
                self._applications.get(app)
            return await self._kill(name, whose)

    async def _whose(self, actor: Actor, name: str) -> str:
        """The application that this name means, among those that the actor may see; empty for none."""
        seen = await self._access.seen(actor, await self._store.read(_apps_present))
        found = await self._store.read(lambda tx: find_named(tx, seen, name))
        return found.app if found else ""

    async def _kill(self, name: str, app: str) -> Environment | None:
        checked_name(name)
        environment = await self._store.write(lambda tx: self._killed(tx, app, name)) if app else None
        log.info("kill", environment=environment.id if environment else "", name=name)
        if environment is not None:
            await self._written(environment)
        return environment

    def _killed(self, tx: Transaction, app: str, name: str) -> Environment | None:
        found = find_named(tx, [app], name)
        return self._ended(tx, found) if found else None

    def _ended(self, tx: Transaction, environment: Environment) -> Environment:
        if environment.change is None:
            return self._desired_state.end(tx, environment)
        if is_unapproved(environment):
            return environment  # nothing runs; and held as killed, it could be launched by hand
        suspension = Suspension(
            SuspensionReason.KILLED,
            "This preview was stopped by hand.",
            "It comes back with the next push, when the pull request is reopened, or when it is launched.",
        )
        held = replace(environment, desired=environment.desired.suspended(suspension))
        tx.save_environment(held)
        self._desired_state.withdraw_links(tx, held)
        return held

    async def kill_by_id(self, environment_id: str, actor: Actor) -> Environment:
        """Have this environment removed. Raises `Refused` (404) when there is none of this id."""
        async with self._acting(actor, Action.KILL, environment_id):
            environment = await self._store.write(lambda tx: self._ended(tx, existing(tx, environment_id)))
            log.info("kill", environment=environment.id, name=environment.name)
            await self._written(environment)
        return environment

    async def redeploy(self, environment_id: str, actor: Actor) -> Environment:
        """Have this environment started afresh, with what it was last wished for.

        Raises:
            Refused: there is none of this id, or it may not run.
        """
        async with self._acting(actor, Action.REDEPLOY, environment_id):
            environment = await self._store.write(lambda tx: self._redeployed(tx, environment_id))
            log.info("redeploy", environment=environment.id, name=environment.name)
            await self._written(environment)
        return environment

    def _redeployed(self, tx: Transaction, environment_id: str) -> Environment:
        environment = existing(tx, environment_id)
        application = self._applications.get(environment.app)
        if environment.change is None:
            check_ref(environment.name, application)
        elif not environment.desired.is_present:
            raise Refused(
                f"Pull request #{environment.change.number} is closed.",
                hint="Reopen it, and its preview comes back.",
                reason="closed",
                status=409,
            )
        _let_run(tx, environment)
        return self._desired_state.run(tx, again(environment, environment.desired.parameters))

    async def let_run(self, environment_id: str, actor: Actor) -> Environment:
        """Have a pull request's preview running, whatever the rules for pull requests or an earlier kill say.
        Not so code from forks: that is approved by its commit.

        Raises:
            Refused: there is none of this id, or it may not run.
        """

        def work(tx: Transaction) -> Environment:
            environment = existing(tx, environment_id)
            if not is_unapproved(environment):
                sha = environment.desired.revision.sha
                tx.save_environment(replace(environment, approved_sha=sha))
            return self._redeployed(tx, environment_id)

        async with self._acting(actor, Action.LAUNCH, environment_id):
            environment = await self._store.write(work)
            log.info("let_run", environment=environment.id, name=environment.name)
            await self._written(environment)
        return environment

    async def approve(self, environment_id: str, sha: str, actor: Actor) -> Environment:
        """Let this very commit run, which comes from a fork.

        Args:
            sha: its whole id, 40 or 64 hex digits, as the person who approves has read it.

        Raises:
            Refused: there is none of this id, its pull request is closed, the commit's id isn't a whole one,
                or the environment's commit is another.
        """
        async with self._acting(actor, Action.APPROVE, environment_id):
            environment = await self._store.write(lambda tx: self._approved(tx, environment_id, sha.lower()))
            log.info("approved", environment=environment.id, sha=sha)
            await self._written(environment)
        return environment

    def _approved(self, tx: Transaction, environment_id: str, sha: str) -> Environment:
        environment = existing(tx, environment_id)
        self._check_forks(environment)
        head = environment.desired.revision.sha
        check_approval(sha, head)
        desired = environment.desired.resumed() if is_unapproved(environment) else environment.desired
        tx.save_environment(replace(environment, desired=desired, approved_sha=head))
        return self._redeployed(tx, environment_id)

    def _check_forks(self, environment: Environment) -> None:
        is_off = self._applications.get(environment.app).forks == "off"
        if is_off and environment.desired.trust is Trust.FORK:
            off = FORKS_ARE_OFF
            raise Refused(off.message, hint=off.hint, reason=off.reason.value, status=409)

    async def keep(self, environment_id: str, actor: Actor, *, pinned: bool) -> None:
        """Spare a preview when room is made for others: always where it is `pinned`, else as the newest."""
        now = self._clock.now()

        def work(tx: Transaction) -> None:
            environment = existing(tx, environment_id)
            save_kept(tx, environment.id, Pin(pinned=pinned, extended_at=now))

        async with self._acting(actor, Action.KEEP, environment_id):
            await self._store.write(work)
            log.info("kept", environment=environment_id, pinned=pinned)

    @asynccontextmanager
    async def _acting(self, actor: Actor, action: Action, environment_id: str) -> AsyncIterator[None]:
        """See `Access.acting`. Raises `Refused` (404) also when the actor may not even see it."""
        environment = await self.visible(environment_id, actor)
        async with self._access.acting(
            actor, action, environment.app, f"{environment.name} ({environment_id})"
        ):
            yield

    async def visible(self, environment_id: str, actor: Actor) -> Environment:
        """The environment of this id. Raises `Refused` (404) when there is none that the actor may see."""
        environment = await self._store.read(lambda tx: existing(tx, environment_id))
        if not await self._access.may(actor, Action.SEE, environment.app):
            raise unknown(environment_id)
        return environment

    async def readable(self, environment_id: str, actor: Actor) -> Environment:
        """The environment, to somebody who may read its logs.

        Raises:
            Refused: there is none of this id, or the actor may not read it.
        """
        environment = await self.visible(environment_id, actor)
        await self._access.check(actor, Action.READ_LOGS, environment.app)
        return environment

    async def log_of(self, environment_id: str, lines: int, actor: Actor, deployment: str = "") -> list[str]:
        """The last lines of the newest instance's output; of the newest deployment's, when nothing is there.

        Args:
            deployment: the id of one: then its own last lines, of its build where that failed.

        Raises:
            Refused: there is none of this id, or the actor may not read it.
            Retry: the engine doesn't answer.
        """
        environment = await self.readable(environment_id, actor)
        deployments = await self._store.read(lambda tx: tx.deployments(environment_id))
        wanted = next((d for d in deployments if d.id == deployment), None)
        if deployment and wanted is None:
            raise Refused("This preview has no such deployment.", reason="deployment-unknown", status=404)
        instances = await self._instances.find(environment.id)
        newest = newest_of([i for i in instances if wanted is None or i.generation == wanted.generation])
        if newest is not None:
            return (await self._instances.logs(newest.id, lines)).splitlines()
        told = wanted or next(iter(deployments), None)
        return told.log.splitlines()[-lines:] if told else []

    def changed(self, environment_id: str) -> None:
        """Something is to be said of this environment that its state doesn't tell."""
        self._watch.changed(environment_id)

    async def until_settled(self, environment: Environment, timeout: float) -> LaunchResult:
        """Wait until the environment serves this generation or a newer one, or until that has failed.

        Args:
            timeout: seconds.

        Raises:
            Retry: it hasn't come that far in time; it goes on by itself.
        """
        generation = environment.desired.generation
        try:
            async with asyncio.timeout(timeout):
                with self._watch.of(environment.id) as changed:
                    while True:
                        changed.clear()
                        ending = await self._ending(environment.id, generation)
                        if ending is not None:
                            return ending
                        await changed.wait()
        except TimeoutError:
            raise Retry(
                f"The preview isn't up after {timeout:g} s; Stager goes on trying.",
                hint="Its URL shows how it stands.",
                reason="still-starting",
            ) from None

    async def _ending(self, environment_id: str, generation: int) -> LaunchResult | None:
        found = await self._memory.with_current(environment_id)
        if found is None:
            raise Refused("The environment was removed.", reason="environment-removed", status=409)
        environment, deployment = found
        if environment.serving is not None and environment.serving >= generation:
            return LaunchResult(environment, deployment)
        if not environment.desired.should_run or (deployment is not None and deployment.attempt.final):
            return LaunchResult(environment, deployment)
        return None

    async def until_removed(self, environment: Environment, timeout: float) -> None:
        """Wait until nothing of the environment runs any more, or somebody has launched it again.

        Args:
            timeout: seconds.

        Raises:
            Retry: it hasn't come that far in time; it goes on by itself.
        """
        try:
            async with asyncio.timeout(timeout):
                with self._watch.of(environment.id) as changed:
                    while not await self._is_removed(environment.id):
                        await changed.wait()
                        changed.clear()
        except TimeoutError:
            raise Retry(
                f"The preview isn't removed after {timeout:g} s; Stager goes on.", reason="still-removing"
            ) from None

    async def _is_removed(self, environment_id: str) -> bool:
        environment = await self._memory.environment(environment_id)
        if environment is None or environment.desired.should_run:
            return True
        return environment.serving is None and not await self._instances.find(environment_id)

    async def _written(self, environment: Environment) -> None:
        """Have room for it, have the visitor's page say it at once, and the worker see to the rest."""
        if environment.desired.should_run:
            await self._room.make(environment)
        try:
            with suppress(Retry):
                await self._tell(environment.id)
        finally:
            self._wake(environment.id)


def _let_run(tx: Transaction, environment: Environment) -> None:
    """People's word goes before the rules for pull requests, for this very commit."""
    suspension = environment.desired.suspension
    if suspension is not None and suspension.reason in BY_POLICY - UNAPPROVED:
        tx.save_environment(replace(environment, approved_sha=environment.desired.revision.sha))


def _apps_present(tx: Transaction) -> frozenset[str]:
    """The applications that have previews, also those that are in the configuration no more."""
    return frozenset(environment.app for environment in tx.environments(present=True))


def _had_previews(tx: Transaction, app: str) -> bool:
    """Whether this application had a preview that is remembered, whatever the configuration says by now."""
    return any(environment.app == app for environment in tx.environments())
