"""The source of an environment's code: repository, change, revision, and whether it is trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

COMMIT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A full commit id: of SHA-1, or of SHA-256 (git-config(1), `extensions.objectFormat`). Two commits with the
same abbreviated id are easy to make: seven digits take 0.1 s."""


def is_commit_id(text: str) -> bool:
    """Whether this is a full commit id, in lower case, as git prints it."""
    return COMMIT_ID.fullmatch(text) is not None


class Trust(StrEnum):
    """Whose code it is. It decides about secrets and approval; see `Profile` for confinement."""

    TRUSTED = "trusted"
    """It is in the repository itself, so its author has push access."""
    FORK = "fork"
    """It comes from another repository, so anyone may have written it."""


class Access(StrEnum):
    """A user's permission on a repository. GitHub's `maintain` counts as write, `triage` as read."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def may_push(self) -> bool:
        """Whether it includes pushing to the repository."""
        return self in (Access.WRITE, Access.ADMIN)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a forge.

    Args:
        id: see `repository_id`. It stays the same when the repository is renamed or transferred.
    """

    id: str
    owner: str
    name: str

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"


def repository_id(forge: str, forge_id: str) -> str:
    """The id of a repository: the name of its forge and the forge's own id, such as `github:123`."""
    return f"{forge}:{forge_id}"


def forge_of(repository_id: str) -> str:
    """The name of the forge in a repository's id."""
    return repository_id.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Change:
    """The latest known state of a pull request.

    Args:
        repository: the base repository, whose settings apply.
        head_repository: the repository of its code; None if it was deleted.
        head_before: the head commit that this delivery replaced, if it contains it.
        updated_at: the forge's timestamp, which tells late deliveries from new ones.
        labels: the names of its labels.
        description: the text below the title.
        author_is_bot: whether a program opened it, such as one that updates dependencies.
    """

    repository: Repository
    number: int
    is_open: bool
    head_sha: str
    head_ref: str
    head_repository: Repository | None
    base_ref: str
    title: str
    author: str
    url: str
    updated_at: datetime
    merged: bool = False
    head_before: str = ""
    labels: tuple[str, ...] = ()
    draft: bool = False
    description: str = ""
    author_is_bot: bool = False

    @property
    def trust(self) -> Trust:
        """Compares the repositories: `fork: true` only means that the head's repository is a fork."""
        head = self.head_repository
        return Trust.TRUSTED if head is not None and head.id == self.repository.id else Trust.FORK

    def is_older_than(self, seen: Change) -> bool:
        """Whether this is an earlier state than `seen`. The forge's timestamps have a resolution of a second;
        within one, the chain of head commits decides if it can."""
        if self.updated_at != seen.updated_at:
            return self.updated_at < seen.updated_at
        return bool(self.head_sha) and self.head_sha == seen.head_before


@dataclass(frozen=True, slots=True)
class Revision:
    """The commit to run, and the ref that it came from. Both are empty for a launch of a prebuilt image by
    name: the boot script decides then, and the image's id identifies what ran."""

    sha: str = ""
    ref: str = ""
