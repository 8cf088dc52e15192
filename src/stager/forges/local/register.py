"""Which branch is which change. Numbers are given here, once and for ever; all else is git's to tell."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from stager.forges.local.pushed import BRANCHES

LONGEST_TITLE = 256
"""Characters, GitHub's bound for a title."""

PULL = re.compile(r"refs/pull/(\d+)/head")


@dataclass(frozen=True, slots=True)
class Tip:
    """What git knows of the commit that a ref points to.

    Args:
        author: its committer's name.
    """

    sha: str
    author: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A branch as a change.

    Args:
        number: the branch's for ever, also when it is deleted and pushed again.
        before: the head that this one replaced.
        created_at: seconds since 1970, as `updated_at`.
        updated_at: seconds since 1970, whole ones; grows with each thing that happens to the branch.
    """

    number: int
    branch: str
    base: str
    head: str
    title: str
    author: str
    created_at: int
    updated_at: int
    is_open: bool = True
    merged: bool = False
    before: str = ""


@dataclass(frozen=True, slots=True)
class Register:
    """All changes of a repository.

    Args:
        next: the number that the next new branch gets.
    """

    next: int
    changes: tuple[Entry, ...]

    @property
    def by_branch(self) -> dict[str, Entry]:
        return {entry.branch: entry for entry in self.changes}

    @property
    def refs(self) -> dict[str, str]:
        """The refs by which a change's head is found, whatever becomes of its branch. They are GitHub's."""
        return {f"refs/pull/{entry.number}/head": entry.head for entry in self.changes}


_TEXT = TypeAdapter(Register)


def read(text: bytes) -> Register | None:
    """What `write` wrote; None if that isn't what it is."""
    try:
        return _TEXT.validate_json(text, strict=True)
    except ValidationError:
        return None


def write(register: Register) -> bytes:
    return _TEXT.dump_json(register, indent=1) + b"\n"


def tips_of(lines: Iterable[str]) -> dict[str, Tip]:
    """Refs and what they point to.

    Args:
        lines: of `git for-each-ref`, in `FORMAT`.
    """
    rows = (line.split("\0") for line in lines)
    return {row[0]: Tip(row[1], row[2], row[3][:LONGEST_TITLE]) for row in rows if len(row) == 4}


FORMAT = "%(refname)%00%(objectname)%00%(committername)%00%(contents:subject)"


def recovered(refs: Mapping[str, Tip]) -> Register:
    """A register that was lost, as far as refs tell: no number is given twice, and a branch has its own where
    it is as it was."""
    numbers = {int(match[1]): tip.sha for ref, tip in refs.items() if (match := PULL.fullmatch(ref))}
    entries: dict[str, Entry] = {}
    for number, sha in sorted(numbers.items()):
        branch = next((b for b, tip in branches_of(refs).items() if tip.sha == sha and b not in entries), "")
        if branch:
            tip = refs[BRANCHES + branch]
            entries[branch] = Entry(number, branch, "", sha, tip.title, tip.author, 0, 0)
    return Register(max(numbers, default=0) + 1, tuple(entries.values()))


def branches_of(refs: Mapping[str, Tip]) -> dict[str, Tip]:
    return {ref.removeprefix(BRANCHES): tip for ref, tip in refs.items() if ref.startswith(BRANCHES)}


def closing(register: Register, refs: Mapping[str, Tip], default: str) -> list[Entry]:
    """The open changes whose branch is gone, or is the default one by now."""
    present = branches_of(refs).keys() - {default}
    return [entry for entry in register.changes if entry.is_open and entry.branch not in present]


def reconciled(
    register: Register, refs: Mapping[str, Tip], *, default: str, merged: Collection[int], now: int
) -> Register:
    """The register with what has happened in the repository since.

    Args:
        default: the default branch.
        merged: the numbers of those among `closing` whose commits are in the default branch.
        now: seconds since 1970.
    """
    known = register.by_branch
    number = register.next
    for branch, tip in branches_of(refs).items():
        if branch == default:
            continue
        before = known.get(branch)
        if before is None:
            known[branch] = Entry(number, branch, default, tip.sha, tip.title, tip.author, now, now)
            number += 1
        else:
            known[branch] = _followed(before, tip, default, now)
    for entry in closing(register, refs, default):
        known[entry.branch] = _stamped(entry, now, is_open=False, merged=entry.number in merged)
    return Register(number, tuple(known.values()))


def _followed(entry: Entry, tip: Tip, default: str, now: int) -> Entry:
    if entry.is_open and (entry.head, entry.base) == (tip.sha, default):
        return entry
    before = entry.head if entry.head != tip.sha else entry.before
    changed = replace(entry, head=tip.sha, before=before, base=default, title=tip.title, author=tip.author)
    return _stamped(changed, now, is_open=True, merged=False)


def _stamped(entry: Entry, now: int, *, is_open: bool, merged: bool) -> Entry:
    """By its stamp a late message is known, so no two states have the same."""
    return replace(entry, is_open=is_open, merged=merged, updated_at=max(now, entry.updated_at + 1))
