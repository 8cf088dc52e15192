"""The configured forges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stager.domain.source import Repository, forge_of
from stager.ports.forge import Forge


class Forges:
    """The forges that Stager has access to, in the order in which repositories are looked up."""

    def __init__(self, forges: Sequence[Forge] = ()) -> None:
        self._forges = tuple(forges)

    def __iter__(self) -> Iterator[Forge]:
        return iter(self._forges)

    def __bool__(self) -> bool:
        return bool(self._forges)

    def of(self, repository_id: str) -> Forge | None:
        """The forge of this repository; None when it isn't configured."""
        return next((forge for forge in self._forges if forge.name == forge_of(repository_id)), None)

    async def repository(self, owner: str, name: str) -> Repository | None:
        """The repository of this name at the first forge that has one.

        Raises:
            Retry: a forge can't be asked.
        """
        for forge in self._forges:
            found = await forge.changes.repository(owner, name)
            if found is not None:
                return found
        return None
