"""Commands of people: launch, kill, redeploy, approve, pin. Each checks permission, changes desired state and
schedules the environment's worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from stager.control.environments.desired_state import DesiredState
from stager.control.environments.launch_parameters import launch_variables
from stager.control.environments.lookup import (
    check_ref,
    checked_name,
    existing,
    find_named,
    is_unapproved,
    newer_than,
)
from stager.control.environments.queries import Queries
from stager.control.environments.scheduler import Scheduler
from stager.control.identity.authorizer import Authorizer
from stager.domain.application import Application, Applications
from stager.domain.commands import Kill, Launch
from stager.domain.environment import (
    BY_POLICY,
    UNAPPROVED,
    Environment,
    EnvironmentKey,
    Suspension,
    SuspensionReason,
)
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.pull_requests.events import LaunchPreview
from stager.domain.pull_requests.rules import FORKS_ARE_OFF, check_approval
from stager.domain.source import Trust
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

CheckBranch = Callable[[Application, str], Awaitable[None]]
"""Raises `Refused` if a manual launch names a branch that the repository doesn't have."""


class Commands:
    """Executes commands.

    Args:
        authorizer: checks permission and writes the audit log; each command asks it first.
    """

    def __init__(
        self,
        store: Store,
        applications: Applications,
        authorizer: Authorizer,
        queries: Queries,
        desired_state: DesiredState,
        scheduler: Scheduler,
        check_branch: CheckBranch,
    ) -> None:
        self._store = store
        self._applications = applications
        self._authorizer = authorizer
        self._queries = queries
        self._desired_state = desired_state
        self._scheduler = scheduler
        self._check_branch = check_branch

    async def launch(self, command: Launch, actor: Actor) -> Environment:
        """Launch a preview; if it runs already, with a new deployment.

        Raises:
            Refused: with the reason; nothing has changed.
        """
        app, name = command.image_name, command.container_name
        async with self._authorizer.authorized(actor, Action.LAUNCH, app, name):
            return await self._launch(command)

    async def _launch(self, command: Launch) -> Environment:
        application = self._applications.get(command.image_name)
        name = checked_name(command.container_name)
        parameters = launch_variables(command.parameters)
        found = await self._store.read(lambda tx: find_named(tx, [application.name], name))
        if found is None or found.change is None:
            check_ref(name, application)
            await self._check_branch(application, name)
        environment = await self._store.write(
            lambda tx: self._request_launch(tx, application, name, parameters)
        )
        log.info("launch", environment=environment.id, app=application.name, name=name)
        await self._scheduler.show_and_schedule(environment)
        return environment

    def _request_launch(
        self, tx: Transaction, application: Application, name: str, parameters: dict[str, str]
    ) -> Environment:
        found = find_named(tx, [application.name], name)
        if found is None or found.change is None:
            check_ref(name, application)
            key = EnvironmentKey.of_name(application.name, name)
            return self._desired_state.launch(tx, key, LaunchPreview(name, parameters))
        return self._desired_state.repeat(tx, _rules_overridden(found), parameters or None)

    async def kill(self, command: Kill, actor: Actor) -> Environment | None:
        """Remove a preview; None if there is none of this name, which isn't an error.

        Raises:
            Refused: with the reason; nothing has changed.
        """
        name, app = command.container_name, command.image_name
        owner = app or await self._queries.app_of(name, actor)
        async with self._authorizer.authorized(actor, Action.KILL, owner, name):
            if app and not await self._store.read(lambda tx: _has_records(tx, app)):
                self._applications.get(app)
            return await self._kill(name, owner)

    async def _kill(self, name: str, app: str) -> Environment | None:
        checked_name(name)
        environment = await self._store.write(lambda tx: self._request_kill(tx, app, name)) if app else None
        log.info("kill", environment=environment.id if environment else "", name=name)
        if environment is not None:
            await self._scheduler.show_and_schedule(environment)
        return environment

    def _request_kill(self, tx: Transaction, app: str, name: str) -> Environment | None:
        found = find_named(tx, [app], name)
        return self._stop(tx, found) if found else None

    def _stop(self, tx: Transaction, environment: Environment) -> Environment:
        """Delete a manual preview; suspend a pull request's, so that its next push brings it back."""
        if environment.change is None:
            return self._desired_state.delete(tx, environment)
        if is_unapproved(environment):
            return environment  # nothing runs; suspended as killed, it could be launched without approval
        suspension = Suspension(
            SuspensionReason.KILLED,
            "This preview was stopped manually.",
            "It comes back with the next push, when the pull request is reopened, or when it is launched.",
        )
        suspended = replace(environment, desired=environment.desired.suspended(suspension))
        tx.save_environment(suspended)
        self._desired_state.revoke_share_links(tx, suspended)
        return suspended

    async def kill_by_id(self, environment_id: str, actor: Actor) -> Environment:
        """Remove this environment. Raises `Refused` (404) if there is none of this id."""
        async with self._queries.acting(environment_id, actor, Action.KILL):
            environment = await self._store.write(lambda tx: self._stop(tx, existing(tx, environment_id)))
            log.info("kill", environment=environment.id, name=environment.name)
            await self._scheduler.show_and_schedule(environment)
        return environment

    async def redeploy(self, environment_id: str, actor: Actor, generation: int | None = None) -> Environment:
        """Start a new deployment of this environment, with the revision and parameters of the last request.

        Args:
            generation: the one that the actor saw; if there is a newer one, nothing changes, so that a form
                that is sent twice acts once. None: any.

        Raises:
            Refused: there is no environment of this id, or it may not run.
        """
        async with self._queries.acting(environment_id, actor, Action.REDEPLOY):
            environment = await self._store.write(
                lambda tx: (
                    newer_than(tx, environment_id, generation) or self._request_again(tx, environment_id)
                )
            )
            log.info("redeploy", environment=environment.id, name=environment.name)
            await self._scheduler.show_and_schedule(environment)
        return environment

    async def reset(self, environment_id: str, actor: Actor, generation: int | None = None) -> Environment:
        """Start a new deployment with new data: volumes that are kept start empty, and those with the policy
        `clone` from the current snapshot. The earlier data stays until the new deployment serves.

        Args:
            generation: as for `redeploy`.

        Raises:
            Refused: there is no environment of this id, or it may not run; `data-none`: it has no volumes.
        """
        async with self._queries.acting(environment_id, actor, Action.RESET):
            environment = await self._store.write(
                lambda tx: (
                    newer_than(tx, environment_id, generation) or self._request_reset(tx, environment_id)
                )
            )
            log.info("data_reset", environment=environment.id, name=environment.name)
            await self._scheduler.show_and_schedule(environment)
        return environment

    def _request_reset(self, tx: Transaction, environment_id: str) -> Environment:
        environment = existing(tx, environment_id)
        deployments = tx.deployments(environment_id)
        prepared = next((each for each in deployments if each.services), None)
        mounts = [mount for each in prepared.services for mount in each.spec.mounts] if prepared else []
        if prepared is not None and not any(mount.volume for mount in mounts):
            raise Refused(
                f'The preview "{environment.name}" has no volumes, so there is no data to reset.',
                hint="Use `redeploy` for a new deployment.",
                reason="data-none",
                status=409,
            )
        requested = self._request_again(tx, environment_id)
        reset = replace(requested, volume_epoch=requested.desired.generation)
        tx.save_environment(reset)
        return reset

    def _request_again(self, tx: Transaction, environment_id: str) -> Environment:
        environment = existing(tx, environment_id)
        application = self._applications.get(environment.app)
        if environment.change is None:
            check_ref(environment.name, application)
        elif not environment.desired.is_present:
            raise Refused(
                f"Pull request #{environment.change.number} is closed.",
                hint="Reopen it to get its preview back.",
                reason="closed",
                status=409,
            )
        return self._desired_state.repeat(tx, _rules_overridden(environment))

    async def override_policy(self, environment_id: str, actor: Actor) -> Environment:
        """Launch a pull request's preview, even if the rules for pull requests or an earlier kill suspend it.
        Code from forks is excluded: it needs an approval by commit id.

        Raises:
            Refused: there is no environment of this id, or it may not run.
        """

        def work(tx: Transaction) -> Environment:
            environment = existing(tx, environment_id)
            if not is_unapproved(environment):
                sha = environment.desired.revision.sha
                tx.save_environment(replace(environment, approved_sha=sha))
            return self._request_again(tx, environment_id)

        async with self._queries.acting(environment_id, actor, Action.LAUNCH):
            environment = await self._store.write(work)
            log.info("policy_overridden", environment=environment.id, name=environment.name)
            await self._scheduler.show_and_schedule(environment)
        return environment

    async def approve(self, environment_id: str, sha: str, actor: Actor) -> Environment:
        """Allow one commit from a fork to run.

        Args:
            sha: its full id, 40 or 64 hex digits, of the commit that the approver has read.

        Raises:
            Refused: there is no environment of this id, its pull request is closed, the id isn't a full one,
                or the environment's commit is another one.
        """
        async with self._queries.acting(environment_id, actor, Action.APPROVE):
            environment = await self._store.write(lambda tx: self._approve(tx, environment_id, sha.lower()))
            log.info("approved", environment=environment.id, sha=sha)
            await self._scheduler.show_and_schedule(environment)
        return environment

    def _approve(self, tx: Transaction, environment_id: str, sha: str) -> Environment:
        environment = existing(tx, environment_id)
        self._check_forks(environment)
        head = environment.desired.revision.sha
        check_approval(sha, head)
        desired = environment.desired.resumed() if is_unapproved(environment) else environment.desired
        tx.save_environment(replace(environment, desired=desired, approved_sha=head))
        return self._request_again(tx, environment_id)

    def _check_forks(self, environment: Environment) -> None:
        is_off = self._applications.get(environment.app).forks == "off"
        if is_off and environment.desired.trust is Trust.FORK:
            off = FORKS_ARE_OFF
            raise Refused(off.message, hint=off.hint, reason=off.reason.value, status=409)

    async def pin(self, environment_id: str, actor: Actor) -> None:
        """Exempt a preview from removal at the limit of previews, and from expiry.

        Raises:
            Refused: there is no environment of this id; `expired`: it has expired already.
        """
        await self._pin(environment_id, actor, pinned=True)

    async def extend(self, environment_id: str, actor: Actor) -> None:
        """Treat a preview as the newest one when one has to be removed at the limit, and as used now; removes
        a pin. Raises what `pin` does."""
        await self._pin(environment_id, actor, pinned=False)

    async def _pin(self, environment_id: str, actor: Actor, *, pinned: bool) -> None:
        async with self._queries.acting(environment_id, actor, Action.KEEP):
            environment = await self._store.write(
                lambda tx: self._save_pin(tx, environment_id, pinned=pinned)
            )
            log.info("preview_pinned", environment=environment_id, pinned=pinned)
            await self._scheduler.show_and_schedule(environment)

    def _save_pin(self, tx: Transaction, environment_id: str, *, pinned: bool) -> Environment:
        environment = existing(tx, environment_id)
        suspension = environment.desired.suspension
        if suspension is not None and suspension.reason is SuspensionReason.EXPIRED:
            raise Refused(
                suspension.message, hint="Launch it again.", reason=suspension.reason.value, status=409
            )
        self._desired_state.pin(tx, environment, pinned=pinned)
        return environment


def _rules_overridden(environment: Environment) -> Environment:
    """The environment for a manual command, which overrides the rules for pull requests, for this commit
    only. The rules may also forbid what was killed or expired. Code from forks isn't approved by that."""
    desired = environment.desired
    overridden = BY_POLICY - UNAPPROVED
    if desired.trust is Trust.TRUSTED:
        overridden |= {SuspensionReason.KILLED, SuspensionReason.EXPIRED}
    if desired.suspension is not None and desired.suspension.reason in overridden:
        return replace(environment, approved_sha=desired.revision.sha)
    return environment


def _has_records(tx: Transaction, app: str) -> bool:
    """Whether a preview of this application is stored, even if the application isn't configured any more."""
    return any(environment.app == app for environment in tx.environments())
