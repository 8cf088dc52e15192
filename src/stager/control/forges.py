"""The configured forges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from stager.domain.source import Repository, forge_of
from stager.ports.forge import Forge


class Forges:
    """The forges that Stager has access to, in the order in which repositories are looked up. One may be
    added while Stager runs: GitHub, once an App is created."""

    def __init__(self, forges: Sequence[Forge] = ()) -> None:
        self._forges = tuple(forges)
        self._connected: list[Callable[[], None]] = []

    def __iter__(self) -> Iterator[Forge]:
        return iter(self._forges)

    def __bool__(self) -> bool:
        return bool(self._forges)

    def use(self, forge: Forge) -> None:
        """Use this forge from now on, instead of one of the same name if there is one."""
        others = [known for known in self._forges if known.name != forge.name]
        self._forges = (forge, *others)
        for call in self._connected:
            call()

    def on_connected(self, call: Callable[[], None]) -> None:
        """Call this after each `use`."""
        self._connected.append(call)

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
