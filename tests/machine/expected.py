"""What should run, as far as can be known from outside: the record that the state machines keep.

Most of what happens leaves one answer. A few things leave two, such as a launch that was never answered
because its Stager was killed: then both are right, until the next rest shows which it was.
"""

from __future__ import annotations

from enum import Enum, auto


class Held(Enum):
    """Whether a pull request's preview was stopped manually, and nothing has brought it back since."""

    NO = auto()
    MAYBE = auto()
    YES = auto()


class Expected:
    """What people requested: versions of names, previews that were stopped, commits that may run."""

    def __init__(self) -> None:
        self._names: dict[str, set[str | None]] = {}
        self._held: dict[int, Held] = {}
        self._let_run: dict[int, set[str | None]] = {}

    # Names of manual launches: each launch has a version, and None is what isn't there.

    @property
    def names(self) -> list[str]:
        """Every name that ever was launched."""
        return list(self._names)

    def versions(self, name: str) -> set[str | None]:
        """The versions of which one should run; of several each is right."""
        return self._names.get(name, {None})

    def runs(self, name: str, *versions: str | None) -> None:
        """Exactly one of these is right from now on."""
        self._names[name] = set(versions)

    def may_run(self, name: str, version: str | None) -> None:
        """What was right is right, and this is too."""
        self._names[name] = self.versions(name) | {version}

    # Pull requests.

    def held(self, number: int) -> Held:
        return self._held.get(number, Held.NO)

    def hold(self, number: int, held: Held) -> None:
        self._held[number] = held

    def may_be_held(self, number: int) -> None:
        """It isn't known any more; what isn't open can't be held."""
        self._held[number] = Held.MAYBE

    def heads(self, number: int, *heads: str | None) -> set[str | None]:
        """The heads of which one should run; None is that nothing should.

        Args:
            heads: of which one should, unless it was stopped manually; None when the pull request is
                closed, or its code mustn't run.
        """
        match self.held(number):
            case Held.NO:
                return {*heads}
            case Held.MAYBE:
                return {*heads, None}
            case Held.YES:
                return {None}

    # Commits of pull requests that a user with push access approved, whatever the rules are. It is the
    # last one that counts, and None is that there is none.

    def lets_run(self, number: int, sha: str | None) -> None:
        """This one, and no other."""
        self._let_run[number] = {sha}

    def may_let_run(self, number: int, *shas: str) -> None:
        """What was right is right, and one of these is too."""
        self._let_run[number] = {*self._let_run.get(number, {None}), *shas}

    def is_let_run(self, number: int, sha: str) -> set[bool]:
        """Whether it was; both are right if it is unknown."""
        return {last == sha for last in self._let_run.get(number, {None})}
