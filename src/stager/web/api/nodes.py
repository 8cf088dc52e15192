"""The machines that previews run on, for administrators."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Path
from pydantic import BaseModel, Field

from stager.control.nodes import NodeReport
from stager.ports.nodes import NodeState
from stager.web.api.router import api_router
from stager.web.context import Control, Known

router = api_router("installation")

NodeName = Annotated[str, Path(max_length=100, description="The node's host name or id.")]


class NodeView(BaseModel):
    """A machine of the swarm."""

    id: str
    name: str = Field(description="Its host name.")
    address: str
    state: NodeState = Field(description="`ready`: it takes previews.")
    is_manager: bool
    problem: str = Field(description="Why it takes no previews; empty if it does.")
    memory: int = Field(description="Its bytes of memory.")
    reserved: int = Field(description="Bytes that the limits of its previews add up to.")
    previews: list[str] = Field(description="The application and name of each preview that runs on it.")
    staying: list[str] = Field(description="Those that a drain leaves there, because of their volumes.")

    @classmethod
    def of(cls, report: NodeReport) -> Self:
        """Return the view of a node."""
        node = report.node
        return cls(
            id=node.id,
            name=node.name,
            address=node.address,
            state=node.state,
            is_manager=node.is_manager,
            problem=node.problem,
            memory=node.memory,
            reserved=node.reserved,
            previews=list(report.previews),
            staying=list(report.staying),
        )


@router.get("/nodes")
async def list_nodes(control: Control, actor: Known) -> list[NodeView]:
    """List the nodes, the manager first."""
    return [NodeView.of(report) for report in await control.nodes.report(actor)]


@router.post("/nodes/{node}/drain")
async def drain_node(control: Control, actor: Known, node: NodeName) -> NodeView:
    """Let a node take no more previews, and move those without volumes, one after another."""
    return NodeView.of(await control.nodes.drain(actor, node))


@router.post("/nodes/{node}/activate")
async def activate_node(control: Control, actor: Known, node: NodeName) -> NodeView:
    """Let a node take previews again."""
    return NodeView.of(await control.nodes.activate(actor, node))
