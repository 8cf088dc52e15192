"""The machines that previews run on: their load, and moving previews away from one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from stager.control.environments.commands import Commands
from stager.control.identity.authorizer import Authorizer
from stager.control.loops import Loop
from stager.control.ports import Ports
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action, Role
from stager.ports.nodes import Node, Nodes, NodeState
from stager.ports.store import Transaction

log = structlog.get_logger(__name__)

REFRESH_INTERVAL, DRAIN_INTERVAL = timedelta(seconds=5), timedelta(seconds=2)
MOVE_PATIENCE = timedelta(minutes=5)
"""How long a drain waits for one preview before it moves the next one."""
DRAIN = Actor("stager", "drain", Role.ADMINISTRATOR)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node with its previews.

    Args:
        previews: the applications and names of those with running instances on it.
        staying: those of them that a drain leaves there, because their volumes are on it.
    """

    node: Node
    previews: tuple[str, ...]
    staying: tuple[str, ...]


class NodeAdministration:
    """Lists nodes, and drains them one preview at a time: each is deployed again, so that its new instance
    serves elsewhere before the old one is removed."""

    def __init__(self, ports: Ports, authorizer: Authorizer, commands: Commands) -> None:
        self._nodes, self._store, self._clock = ports.nodes, ports.store, ports.clock
        self._authorizer = authorizer
        self._commands = commands
        self._moving: dict[str, datetime] = {}
        """When each environment was asked to move. After a restart, those that are still there move again."""

    async def report(self, actor: Actor) -> Sequence[NodeReport]:
        """All nodes, the manager first.

        Raises:
            Refused: 403, the actor lacks the permission; `nodes-none`: the engine has no nodes.
            Retry: the engine or the store doesn't answer.
        """
        await self._authorizer.check(actor, Action.MANAGE_NODES)
        found = await self._engine.nodes()
        return [await self._report(node) for node in found]

    async def drain(self, actor: Actor, name: str) -> NodeReport:
        """Let a node take no more previews, and move those without volumes elsewhere.

        Args:
            name: its host name or id.

        Raises:
            Refused: as `report`; `node-unknown`: there is no such node, or several.
            Retry: the engine doesn't answer.
        """
        async with self._authorizer.authorized(actor, Action.MANAGE_NODES):
            node = await self._find(name)
            await self._engine.drain(node.id)
            log.info("node_drained", node=node.id, name=node.name)
            return await self._report(await self._find(node.id))

    async def activate(self, actor: Actor, name: str) -> NodeReport:
        """Let a node take previews again. Args and raises: as `drain`."""
        async with self._authorizer.authorized(actor, Action.MANAGE_NODES):
            node = await self._find(name)
            await self._engine.activate(node.id)
            log.info("node_activated", node=node.id, name=node.name)
            return await self._report(await self._find(node.id))

    def loops(self) -> list[Loop]:
        """Verification of the nodes, and drains."""
        if self._nodes is None:
            return []
        return [
            Loop("nodes", self._nodes.refresh, REFRESH_INTERVAL),
            Loop("drain", self.move_next, DRAIN_INTERVAL, after_adoption=True),
        ]

    async def move_next(self) -> None:
        """Ask the next preview on a drained node to move, once the one before it has.

        Raises:
            Retry: the engine or the store doesn't answer.
        """
        drained = [node for node in await self._engine.nodes() if node.state is NodeState.DRAINING]
        there = [each for node in drained for each in node.environments if each not in node.staying]
        self._moving = {each: since for each, since in self._moving.items() if each in there}
        now = self._clock.now()
        if any(now - since < MOVE_PATIENCE for since in self._moving.values()):
            return
        if following := next((each for each in there if each not in self._moving), None):
            self._moving[following] = now
            await self._move(following)

    async def _move(self, environment_id: str) -> None:
        try:
            await self._commands.redeploy(environment_id, DRAIN)
        except Refused as error:  # it may not run, so it is removed anyway
            log.info(
                "preview_not_moved", environment=environment_id, reason=error.reason, error=error.message
            )

    @property
    def _engine(self) -> Nodes:
        if self._nodes is None:
            raise Refused(
                "All previews run on this machine.",
                hint="Set `engine.kind: swarm` to use several.",
                reason="nodes-none",
                status=409,
            )
        return self._nodes

    async def _find(self, name: str) -> Node:
        found = [node for node in await self._engine.nodes() if name in (node.id, node.name)]
        if len(found) != 1:
            what = "several nodes" if found else "no node"
            raise Refused(
                f"The swarm has {what} {name[:100]!r}.",
                hint="`stager nodes` lists them with their ids.",
                reason="node-unknown",
                status=404,
            )
        return found[0]

    async def _report(self, node: Node) -> NodeReport:
        names = await self._store.read(lambda tx: {each: _name(tx, each) for each in node.environments})
        return NodeReport(
            node, tuple(sorted(names.values())), tuple(sorted(names[each] for each in node.staying))
        )


def _name(tx: Transaction, environment_id: str) -> str:
    environment = tx.environment(environment_id)
    return environment_id if environment is None else f"{environment.app}/{environment.name}"
