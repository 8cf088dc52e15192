"""Fills the data of a new environment by a command, and makes the snapshot from it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from stager.control.data.capture import Capture, Captured, Report
from stager.control.data.masking import LAST_LINES, ending
from stager.control.environments.attach import Attach
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.desired_state import DesiredState
from stager.control.environments.waiters import Waiters
from stager.domain.application import Application
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.errors import Fault
from stager.domain.pull_requests.events import LaunchPreview
from stager.domain.snapshot import FromCommand, Snapshot
from stager.domain.text import masking
from stager.ports.engine import Instances
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

COMMAND_SECONDS = 3_600.0


class Seeding:
    """Launches environments for snapshots, and removes them."""

    def __init__(
        self,
        store: Store,
        instances: Instances,
        desired_state: DesiredState,
        change_feed: ChangeFeed,
        waiters: Waiters,
        capture: Capture,
        wake: Callable[[str], None],
    ) -> None:
        self._store = store
        self._instances = instances
        self._attach = Attach(store, instances, change_feed)
        self._desired_state = desired_state
        self._change_feed = change_feed
        self._waiters = waiters
        self._capture = capture
        self._wake = wake

    async def take(
        self, snapshot: Snapshot, application: Application, source: FromCommand, report: Report
    ) -> Captured:
        """Launch an environment with empty volumes, run a command in its main service, make the snapshot, and
        remove the environment.

        Raises:
            Fault: `seed-failed`: the launch or the command failed; see `Capture.take`.
        """
        environment = await self._launch(snapshot, source)
        try:
            await report("Launching the application")
            await self._wait(environment, application)
            await report(f"Running {source.command[:100]}")
            await self._run(environment, application, source)
            return await self._capture.take(snapshot.id, environment.id, report)
        finally:
            await self.remove(environment.id)

    async def _launch(self, snapshot: Snapshot, source: FromCommand) -> Environment:
        key = EnvironmentKey.of_snapshot(snapshot.app, snapshot.id)
        launch = LaunchPreview(source.branch or f"snapshot-{snapshot.number}", {})
        environment = await self._store.write(lambda tx: self._desired_state.launch(tx, key, launch))
        self._change_feed.changed(environment.id)
        self._wake(environment.id)
        return environment

    async def _wait(self, environment: Environment, application: Application) -> None:
        timeout = application.build_timeout + application.image_timeout + application.start_timeout
        result = await self._waiters.until_settled(environment, timeout)
        if result.is_live:
            return
        outcome = result.deployment.attempt.outcome if result.deployment else None
        raise Fault(
            f"The application couldn't be launched: {outcome.message if outcome else 'it was removed.'}",
            hint=outcome.hint if outcome else "",
            reason="seed-failed",
            detail=outcome.detail if outcome else "",
        )

    async def _run(self, environment: Environment, application: Application, source: FromCommand) -> None:
        instance = await self._attach.newest(environment.id)
        if instance is None:
            raise Fault("The application's container was removed.", hint="Try again.", reason="seed-failed")
        ran = await self._instances.run(instance.id, ("sh", "-c", source.command), COMMAND_SECONDS)
        log.info("seed_ran", environment=environment.id, exit_code=ran.exit_code)
        if ran.exit_code != 0:
            output = masking(application.secrets.values())(ran.output)
            raise Fault(
                f"`{source.command[:200]}` {ending(ran, COMMAND_SECONDS)}.",
                hint="It runs by `sh -c` in the main service. Check the end of its output.",
                reason="seed-failed",
                detail="\n".join(output.splitlines()[-LAST_LINES:]),
            )

    async def remove(self, environment_id: str) -> None:
        """Remove an environment with its volumes; no effect if it is removed already."""

        def work(tx: Transaction) -> bool:
            environment = tx.environment(environment_id)
            if environment is None or not environment.desired.is_present:
                return False
            self._desired_state.delete(tx, environment)
            return True

        if await self._store.write(work):
            self._change_feed.changed(environment_id)
        self._wake(environment_id)
