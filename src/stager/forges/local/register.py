"""The changes of a local repository: the permanent number of each branch, and its state as read from git.
Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from stager.forges.local.push_client import BRANCHES

LONGEST_TITLE = 256
"""Characters; GitHub's limit for a title."""

PULL = re.compile(r"refs/pull/(\d+)/head")


@dataclass(frozen=True, slots=True)
class Tip:
    """The commit that a ref points to.

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
        number: permanent for the branch, also after it is deleted and pushed again.
        before: the previous head.
        created_at: seconds since 1970.
        updated_at: whole seconds since 1970; increases with each event of the branch.
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
        next: the number of the next new branch.
    """

    next: int
    changes: tuple[Entry, ...]

    @property
    def by_branch(self) -> dict[str, Entry]:
        return {entry.branch: entry for entry in self.changes}

    @property
    def refs(self) -> dict[str, str]:
        """Refs that keep each change's head, also after its branch is deleted; named as at GitHub."""
        return {f"refs/pull/{entry.number}/head": entry.head for entry in self.changes}


_TEXT = TypeAdapter(Register)


def read(text: bytes) -> Register | None:
    """Parse the output of `write`; None if it can't be parsed."""
    try:
        return _TEXT.validate_json(text, strict=True)
    except ValidationError:
        return None


def write(register: Register) -> bytes:
    return _TEXT.dump_json(register, indent=1) + b"\n"


def tips_of(lines: Iterable[str]) -> dict[str, Tip]:
    """Refs and the commits that they point to.

    Args:
        lines: of `git for-each-ref`, in `FORMAT`.
    """
    rows = (line.split("\0") for line in lines)
    return {row[0]: Tip(row[1], row[2], row[3][:LONGEST_TITLE]) for row in rows if len(row) == 4}


FORMAT = "%(refname)%00%(objectname)%00%(committername)%00%(contents:subject)"


def recovered(refs: Mapping[str, Tip]) -> Register:
    """Rebuild a lost register from refs: no number is reused, and a branch keeps its number if its head is
    unchanged."""
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
    """The open changes whose branch was deleted or became the default one."""
    present = branches_of(refs).keys() - {default}
    return [entry for entry in register.changes if entry.is_open and entry.branch not in present]


def reconciled(
    register: Register, refs: Mapping[str, Tip], *, default: str, merged: Collection[int], now: int
) -> Register:
    """The register, updated with the repository's refs.

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
    """Each state has its own time, so that late messages are recognised."""
    return replace(entry, is_open=is_open, merged=merged, updated_at=max(now, entry.updated_at + 1))
