"""The preview of `stager up`, read and changed in the control plane of the same process. Stager's own pages
and API aren't needed for that; their import takes a third of the server's start."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from stager.cli.up.progress import Preview
from stager.control.control_plane import ControlPlane
from stager.control.environments.queries import Row
from stager.control.reconciler.status_page import live_status
from stager.domain.commands import Kill
from stager.domain.errors import Retry
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.forges.local.deliveries import FORGE
from stager.forges.local.push_client import DELIVERY, REPOSITORY, SECRET, SIGNATURE, signature

LOG_LINES = 200
REMOVAL_TIMEOUT, CLOSE_TIMEOUT = 60.0, 2.0
ACTOR = Actor("up", "stager up", Role.ADMINISTRATOR)


class LocalPreviews:
    """The previews of a control plane in this process; see `progress.Previews`.

    Args:
        application: the application's name.
        pushed: the commit that was pushed last. What an earlier run left is shown neither before the server
            has seen that, nor after the end.
    """

    def __init__(self, control: ControlPlane, application: str, pushed: str) -> None:
        self._control = control
        self._application = application
        self._pushed = pushed
        self._changed = asyncio.Event()
        control.environments.change_feed.listen(lambda _: self._changed.set())

    async def changed(self, seconds: float) -> None:
        """See `Previews.changed`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        self._changed.clear()

    async def preview(self) -> Preview | None:
        """See `Previews.preview`."""
        control = self._control
        row = await self._row()
        if row is None or row.environment.desired.revision.sha != self._pushed:
            return None
        environment, deployment = row.environment, row.deployment
        return Preview(
            environment.id,
            environment.desired.generation,
            control.routing.urls.url(environment.host),
            live_status(environment, deployment, control.builds.queue),
            deployment.id if deployment else "",
            has_build=bool(deployment and deployment.building_at),
        )

    async def _row(self) -> Row | None:
        rows = await self._control.environments.queries.listing(ACTOR, app=self._application)
        return next(iter(rows), None)

    async def build_log(self, preview: Preview) -> AsyncIterator[str]:
        """See `Previews.build_log`."""
        key = await self._control.environments.queries.build_of(preview.id, ACTOR)
        if self._control.builds.queue is None:
            return
        rest = ""
        async for piece in self._control.builds.queue.follow(key):
            *lines, rest = (rest + piece).split("\n")
            for line in lines:
                yield line
        if rest:
            yield rest

    async def log(self, preview: Preview) -> str:
        """See `Previews.log`."""
        queries = self._control.environments.queries
        with suppress(Retry):  # the state is shown without the log
            return "\n".join(await queries.log_of(preview.id, LOG_LINES, ACTOR, preview.deployment))
        return ""

    async def push(self, repository: Path, update: str) -> None:
        """Record a push, as the repository's hook reports it.

        Args:
            update: a line of a post-receive hook's input.
        """
        self._pushed = update.split(" ")[1]
        body = f"{update}\n".encode()
        headers = {
            REPOSITORY: self._application,
            DELIVERY: secrets.token_hex(16),
            SIGNATURE: signature((repository / SECRET).read_bytes().strip(), body),
        }
        for delivery in await self._control.ports.webhooks[FORGE].receive(headers, body):
            await self._control.pull_requests.inbox.receive(delivery)

    async def remove_others(self) -> None:
        """Remove the previews of other applications, which a killed run with another `--name` left."""
        environments = self._control.environments
        for row in await environments.queries.listing(ACTOR):
            if row.environment.app != self._application:
                await environments.commands.kill_by_id(row.environment.id, ACTOR)

    async def remove(self) -> None:
        """Remove the preview and wait until it is removed.

        Raises:
            Retry: it takes longer than `REMOVAL_TIMEOUT`.
        """
        environments = self._control.environments
        killed = await environments.commands.kill(Kill(self._application, self._application), ACTOR)
        if killed is not None:
            await environments.waiters.until_removed(killed, REMOVAL_TIMEOUT)

    async def forgotten(self) -> None:
        """Wait until the server has seen that the branch is deleted, for `CLOSE_TIMEOUT` at most: the next
        start sees it otherwise."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                while await self._row() is not None:
                    await self.changed(CLOSE_TIMEOUT)
