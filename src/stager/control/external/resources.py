"""Runs server hooks: `before_launch` when a deployment is prepared, `before_kill` once nothing uses what it
created.

A resource is recorded before its first hook runs, so that `before_kill` runs for everything that may exist,
also after Stager was killed. It stays recorded until `before_kill` has succeeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.resource_records import ResourceRecords
from stager.control.loops import CoalescingTasks, Loop
from stager.control.ports import Ports
from stager.control.routing.urls import Urls
from stager.domain.application import Application, Applications
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Instance
from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.external import (
    MAX_OUTPUT,
    ExternalResource,
    ResourceState,
    ServerHooks,
    pause_after,
    read_output,
    resource_for,
)
from stager.domain.source import Revision
from stager.domain.text import masking
from stager.ports.server_commands import CommandResult
from stager.ports.store import Transaction

log = structlog.get_logger(__name__)

INTERVAL = timedelta(minutes=1)
"""Between two looks for resources that nothing uses; most are removed at once."""
LAUNCH_TRIES = 8
"""Of a `before_launch` hook for one deployment, within about two minutes, before the deployment fails."""
AT_ONCE = 4
"""Hooks that run at the same time."""
LAST_LINES, LONGEST_LINE = 30, 500
"""Of standard error in what is shown."""


@dataclass(frozen=True, slots=True)
class _Hook:
    """One run of a hook.

    Args:
        moment: its name in the configuration.
        secrets: are masked in what is shown.
    """

    moment: str
    command: Sequence[str]
    folder: str
    timeout: float
    secrets: tuple[str, ...] = ()


class ExternalResources:
    """Creates and removes external resources."""

    def __init__(self, ports: Ports, applications: Applications, urls: Urls, change_feed: ChangeFeed) -> None:
        self._store, self._instances, self._clock = ports.store, ports.instances, ports.clock
        self._ids, self._commands = ports.ids, ports.server_commands
        self._records = ResourceRecords(ports.secret_box)
        self._applications = applications
        self._urls = urls
        self._change_feed = change_feed
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._busy: dict[str, asyncio.Lock] = {}
        self._releasing = CoalescingTasks(self._release)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def loops(self) -> list[Loop]:
        """Looks for resources that nothing uses."""
        return [Loop("external resources", self.release_all, INTERVAL, after_adoption=True)]

    async def close(self) -> None:
        """Cancel hooks that run in the background."""
        for timer in self._timers.values():
            timer.cancel()
        await self._releasing.close()

    async def create(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Mapping[str, str]:
        """The variables for a deployment. Runs `before_launch` unless that has succeeded for the preview.

        Raises:
            Retry: `server-hook-failing`: the hook failed; it is tried again.
            Fault: `server-hook-failed`: it failed `LAUNCH_TRIES` times. `hook-output-invalid`: its output
                isn't what Stager reads.
        """
        hooks = application.server_hooks
        if not hooks.run_for(environment.desired.trust):
            return {}
        while True:
            resource = await self._store.write(lambda tx: self._begin(tx, environment, deployment, hooks))
            async with self._lock(resource.id):
                current = await self._store.write(lambda tx: self._begin(tx, environment, deployment, hooks))
                if current.id == resource.id:  # else it was removed meanwhile
                    return await self._ready(environment, deployment, hooks, current)

    def _begin(
        self, tx: Transaction, environment: Environment, deployment: Deployment, hooks: ServerHooks
    ) -> ExternalResource:
        """The resource for a deployment; a new one is recorded if there is none. While its hook hasn't
        succeeded, its `before_kill` is the configured one."""
        known = self._records.of(tx, environment.id)
        found = resource_for(known, deployment.generation, environment.volume_epoch)
        if found is None:
            found = ExternalResource(self._ids.new(), deployment.generation)
            self._records.add(tx, environment.id, found)
        if found.state is ResourceState.CREATING:
            found = replace(
                found,
                before_kill=hooks.before_kill,
                folder=hooks.folder,
                timeout=hooks.timeout,
                unreadable="",
            )
            self._records.change(tx, environment.id, found)
        return found

    async def _ready(
        self,
        environment: Environment,
        deployment: Deployment,
        hooks: ServerHooks,
        resource: ExternalResource,
    ) -> Mapping[str, str]:
        """The variables of a resource, which is created unless it is ready."""
        if resource.state is ResourceState.READY:
            return resource.output.all
        hook = _Hook("before_launch", hooks.before_launch, hooks.folder, hooks.timeout)
        facts = self._facts(environment, resource) | _commit(deployment.revision, environment)
        ran = await self._run(environment, hook, facts) if hook.command else CommandResult(0)
        if ran.exit_code == 0:
            output = read_output(ran.output)
            changed = replace(resource, state=ResourceState.READY, output=output, failures=0, problem="")
        else:
            changed = replace(resource, failures=resource.failures + 1, problem=_problem(hook, ran))
        await self._store.write(lambda tx: self._records.change(tx, environment.id, changed))
        if ran.exit_code != 0:
            raise _launch_error(hook, ran, is_last=deployment.attempt.failures + 1 >= LAUNCH_TRIES)
        return changed.output.all

    async def release_all(self) -> None:
        """Remove all resources that nothing uses, in the background."""
        for environment in await self._store.read(self._records.all):
            self.request_release(environment)

    def request_release(self, environment_id: str) -> None:
        """Remove the resources of an environment that nothing uses, in the background."""
        if (timer := self._timers.pop(environment_id, None)) is not None:
            timer.cancel()
        self._releasing.request(environment_id)

    async def _release(self, environment_id: str) -> None:
        """Remove the resources that nothing uses; those whose hook fails are tried again later."""
        try:
            unused = await self._unused(environment_id)
            for resource in unused:
                async with self._lock(resource.id):
                    await self._remove(environment_id, resource.id)
            left = await self._unused(environment_id) if unused else ()
        except StagerError as error:
            log.warning("external_kept", environment=environment_id, reason=error.reason, error=error.message)
            return
        except Exception:
            log.exception("external_failed", environment=environment_id)
            return
        self._try_again(environment_id, left)

    async def secrets_of(self, environment_id: str) -> list[str]:
        """The secrets that `before_launch` hooks have set for an environment."""
        found = await self._store.read(lambda tx: self._records.of(tx, environment_id))
        return [secret for resource in found for secret in resource.output.secrets.values()]

    async def _unused(self, environment_id: str) -> tuple[ExternalResource, ...]:
        """The resources of an environment that nothing uses."""
        environment, found = await self._store.read(
            lambda tx: (tx.environment(environment_id), self._records.of(tx, environment_id))
        )
        if environment is None:
            return ()
        unused = tuple(r for r in found if _may_be_unused(r, environment))
        if all(r.state is ResourceState.REMOVING for r in unused):
            return unused
        instances = await self._instances.find(environment_id)
        return tuple(
            r for r in unused if r.state is ResourceState.REMOVING or not _is_used(environment, instances)
        )

    def _try_again(self, environment_id: str, left: Iterable[ExternalResource]) -> None:
        times = [resource.retry_at for resource in left if resource.retry_at is not None]
        if times:
            delay = max(0.0, (min(times) - self._clock.now()).total_seconds())
            loop = asyncio.get_running_loop()
            self._timers[environment_id] = loop.call_later(delay, self.request_release, environment_id)

    async def _remove(self, environment_id: str, resource_id: str) -> None:
        """Run `before_kill` for a resource, if it is due, and forget the resource once that has succeeded."""
        found = await self._store.write(lambda tx: self._begin_removal(tx, environment_id, resource_id))
        if found is None:
            return
        environment, resource = found
        if resource.retry_at is not None and resource.retry_at > self._clock.now():
            return
        problem = await self._run_before_kill(environment, resource)
        if not problem:
            await self._store.write(lambda tx: self._records.remove(tx, environment_id, resource_id))
            self._busy.pop(resource_id, None)
        else:
            failures = resource.failures + 1
            retry_at = self._clock.now() + pause_after(failures)
            failed = replace(resource, failures=failures, retry_at=retry_at, problem=problem)
            await self._store.write(lambda tx: self._records.change(tx, environment_id, failed))
        self._change_feed.changed(environment_id)

    def _begin_removal(
        self, tx: Transaction, environment_id: str, resource_id: str
    ) -> tuple[Environment, ExternalResource] | None:
        """Record that no deployment may use the resource from now on. None if one may: the environment was
        launched again meanwhile."""
        environment, resources = tx.environment(environment_id), self._records.of(tx, environment_id)
        resource = next((r for r in resources if r.id == resource_id), None)
        if environment is None or resource is None:
            return None
        if resource.state is not ResourceState.REMOVING:
            if not _may_be_unused(resource, environment):
                return None
            resource = replace(resource, state=ResourceState.REMOVING, failures=0, problem="")
            self._records.change(tx, environment_id, resource)
        return environment, resource

    async def _run_before_kill(self, environment: Environment, resource: ExternalResource) -> str:
        """Returns why it failed, in words; empty if it succeeded or there is none."""
        command, folder = resource.before_kill, resource.folder
        if resource.unreadable:
            application = self._applications.find(environment.app)
            hooks = application.server_hooks if application else ServerHooks()
            command, folder = hooks.before_kill, hooks.folder
            if not command:
                return "The before_kill hook can't be decrypted, and the configuration has none."
        if not command:
            return ""
        secrets = tuple(resource.output.secrets.values())
        hook = _Hook("before_kill", command, folder, resource.timeout, secrets)
        ran = await self._run(environment, hook, self._facts(environment, resource))
        return "" if ran.exit_code == 0 else _problem(hook, ran)

    async def _run(self, environment: Environment, hook: _Hook, facts: Mapping[str, str]) -> CommandResult:
        async with self._slots:
            ran = await self._commands.run(
                hook.command,
                {**facts, "STAGER_HOOK": hook.moment},
                folder=hook.folder,
                timeout=hook.timeout,
                max_output=MAX_OUTPUT,
            )
        log.info(
            "server_hook_ran",
            environment=environment.id,
            app=environment.app,
            hook=hook.moment,
            exit_code=ran.exit_code,
            errors=_errors(hook, ran) if ran.exit_code != 0 else "",
        )
        return ran

    def _facts(self, environment: Environment, resource: ExternalResource) -> dict[str, str]:
        """The environment variables of a hook."""
        change = environment.change
        facts = {
            "STAGER_RESOURCE": resource.id,
            "STAGER_APP": environment.app,
            "STAGER_ENVIRONMENT": environment.id,
            "STAGER_NAME": environment.name,
            "STAGER_HOST": environment.host,
            "STAGER_URL": self._urls.url(environment.host),
            "STAGER_TRUST": environment.desired.trust.value,
            **_commit(environment.desired.revision, environment),
        }
        if change is not None:
            facts["STAGER_REPOSITORY"] = f"{change.owner}/{change.repository}"
            facts["STAGER_CHANGE"] = str(change.number)
        return facts

    def _lock(self, resource_id: str) -> asyncio.Lock:
        """One hook of a resource runs at a time."""
        return self._busy.setdefault(resource_id, asyncio.Lock())


def _may_be_unused(resource: ExternalResource, environment: Environment) -> bool:
    """Whether the preview no longer wants the resource: it is removed, or its data was reset since."""
    is_replaced = resource.generation < environment.volume_epoch <= (environment.serving or 0)
    return resource.state is ResourceState.REMOVING or not environment.keeps_volumes or is_replaced


def _is_used(environment: Environment, instances: Iterable[Instance]) -> bool:
    """Whether one of these instances may use a resource that the preview no longer wants: any of a removed
    preview, and one from before the reset."""
    if not environment.keeps_volumes:
        return any(True for _ in instances)
    return any(max(i.generation, *i.generations) < environment.volume_epoch for i in instances)


def _commit(revision: Revision, environment: Environment) -> dict[str, str]:
    return {"STAGER_SHA": revision.sha, "STAGER_REF": revision.ref or environment.name}


def _launch_error(hook: _Hook, ran: CommandResult, *, is_last: bool) -> StagerError:
    """The error without the command's output, which pull requests and visitors must not see."""
    message = _failure(hook, ran)
    hint = "Stager's log and `stager doctor` have the end of its standard error."
    if is_last:
        return Fault(message, hint=hint, reason="server-hook-failed")
    return Retry(message, hint=hint, reason="server-hook-failing")


def _failure(hook: _Hook, ran: CommandResult) -> str:
    """What happened, without the command's arguments, which may have secrets."""
    if ran.exit_code is None:
        return f"The server hook {hook.moment} took over {hook.timeout:g} s."
    return f"The server hook {hook.moment} ended with exit code {ran.exit_code}."


def _problem(hook: _Hook, ran: CommandResult) -> str:
    last = _errors(hook, ran).rpartition("\n")[2]
    return _failure(hook, ran) + (f" It printed: {last}" if last else "")


def _errors(hook: _Hook, ran: CommandResult) -> str:
    """The last lines of standard error, without secrets."""
    lines = masking(hook.secrets)(ran.errors).strip().splitlines()[-LAST_LINES:]
    return "\n".join(line[:LONGEST_LINE] for line in lines)
