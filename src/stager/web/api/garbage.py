"""Garbage collection on request, for administrators."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field

from stager.control.cleanup import Found
from stager.domain.leftovers import LeftoverKind
from stager.web.api.router import api_router
from stager.web.context import Control, Known

router = api_router("installation")


class LeftoverView(BaseModel):
    """Something on the machine that nothing needs any more."""

    kind: LeftoverKind
    name: str
    preview: str = Field(description="The application and name of its preview; empty if that is unknown.")
    why: str = Field(description="Why nothing needs it.")
    size: int | None = Field(description="Bytes that its removal frees; null if that is unknown.")

    @classmethod
    def of(cls, found: Found) -> Self:
        """Return the view of something that was found."""
        one = found.leftover
        return cls(kind=one.kind, name=one.name, preview=found.preview, why=one.why, size=one.size)


@router.get("/garbage")
async def list_garbage(control: Control, actor: Known) -> list[LeftoverView]:
    """List what garbage collection would remove now. May take seconds."""
    return [LeftoverView.of(found) for found in await control.cleanup.look(actor)]


@router.delete("/garbage")
async def collect_garbage(control: Control, actor: Known) -> list[LeftoverView]:
    """Remove what nothing needs. Returns what was removed. May take seconds."""
    return [LeftoverView.of(found) for found in await control.cleanup.run(actor)]
