"""The forges that can be asked, and which of them a repository is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stager.domain.source import Repository, forge_of
from stager.ports.forge import Forge


class Forges:
    """All of them, in the order in which a repository is looked for.

    Args:
        forges: those that there are credentials for, or that need none.
    """

    def __init__(self, forges: Sequence[Forge] = ()) -> None:
        self._forges = tuple(forges)

    def __iter__(self) -> Iterator[Forge]:
        return iter(self._forges)

    def __bool__(self) -> bool:
        return bool(self._forges)

    def of(self, repository_id: str) -> Forge | None:
        """The forge that this repository is in; None where none of ours can be asked about it."""
        return next((forge for forge in self._forges if forge.name == forge_of(repository_id)), None)

    async def repository(self, owner: str, name: str) -> Repository | None:
        """The repository of this name in the first forge that has one.

        Raises:
            Retry: one of them can't tell for certain.
        """
        for forge in self._forges:
            found = await forge.changes.repository(owner, name)
            if found is not None:
                return found
        return None
