"""Pictures, composed: the loop that takes them, and reads for people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from stager.control.environments.queries import Queries
from stager.control.loops import Loop
from stager.control.pictures.links import PictureLinks
from stager.control.pictures.rounds import Rounds
from stager.control.ports import Ports
from stager.control.routing.package import Routing
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.ports.pictures import Album

INTERVAL = timedelta(minutes=1)
GONE = 410


class Pictures:
    """Pictures of previews; without the setting there are none.

    Args:
        queries: who may see a preview may see its pictures.
        publish: see `Rounds`.
        key: signs the links of images in comments.
    """

    def __init__(
        self, ports: Ports, routing: Routing, queries: Queries, publish: Callable[[str], None], key: bytes
    ) -> None:
        self._ports, self._queries = ports.pictures, queries
        self.rounds = Rounds(ports, ports.pictures, publish) if ports.pictures else None
        shown = ports.pictures.options.in_comments if ports.pictures else "links"
        self.links = PictureLinks(ports, routing, key, shown)

    @property
    def are_taken(self) -> bool:
        """Whether pictures are configured."""
        return self._ports is not None

    async def album(self, environment_id: str, actor: Actor) -> Album | None:
        """The album of a preview; None if there is none yet. Raises `Refused` (404) unless the actor may see
        the preview."""
        await self._queries.visible(environment_id, actor)
        return await self._ports.albums.load(environment_id) if self._ports else None

    async def picture(self, environment_id: str, key: str, actor: Actor) -> bytes:
        """A picture as PNG. Raises `Refused`: 404 unless the actor may see the preview, 410 if it
        doesn't exist."""
        await self._queries.visible(environment_id, actor)
        found = await self._ports.albums.picture(environment_id, key) if self._ports else None
        if found is None:
            raise _gone()
        return found

    async def thumbnail(self, environment_id: str, key: str, actor: Actor) -> bytes:
        """The small copy of the picture that stands for a preview in lists, as JPEG. Raises what `picture`
        does."""
        await self._queries.visible(environment_id, actor)
        found = await self._ports.albums.thumbnail(environment_id, key) if self._ports else None
        if found is None:
            raise _gone()
        return found

    def cover_of(self, environment_id: str) -> str:
        """The key of the picture that stands for a preview in lists; empty if there is none."""
        return self.rounds.covers.get(environment_id, "") if self.rounds else ""

    def loops(self) -> list[Loop]:
        """The loop that takes pictures."""
        if self.rounds is None:
            return []
        return [Loop("pictures", self.rounds.run, INTERVAL, after_adoption=True, wake=self.rounds.wake)]


def _gone() -> Refused:
    return Refused("There is no such picture.", status=GONE, reason="picture-unknown")
