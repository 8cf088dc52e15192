"""Where an environment's code comes from: repository, change and revision, and whether it may run here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

COMMIT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A whole commit id: of SHA-1, or of SHA-256 (git-config(1), `extensions.objectFormat`). Anybody can make two
commits that share a shorter one: seven digits take 0.1 s."""


def is_commit_id(text: str) -> bool:
    """Whether this is a whole commit id, in lower case, as git prints it."""
    return COMMIT_ID.fullmatch(text) is not None


class Trust(StrEnum):
    """Whether a change's code may run here."""

    TRUSTED = "trusted"
    """Somebody with push access put it into the repository itself."""
    FORK = "fork"
    """It comes from another repository, so anybody may have written it."""


class Access(StrEnum):
    """What somebody may do with a repository. GitHub's `maintain` counts as write, `triage` as read."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def may_push(self) -> bool:
        """Whether whoever has it may put code into the repository."""
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
    """A pull request as the forge last told it.

    Args:
        repository: the base: where the change is wanted, and whose settings count.
        head_repository: where the code lies; None when that repository was deleted.
        head_before: the head that this delivery replaced, when it says so.
        updated_at: the forge's own time stamp, by which late deliveries are told from new ones.
        labels: their names.
        description: what its author wrote below the title.
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
        """By comparing repositories: `fork: true` only says that the head's repository was forked once."""
        head = self.head_repository
        return Trust.TRUSTED if head is not None and head.id == self.repository.id else Trust.FORK

    def is_older_than(self, seen: Change) -> bool:
        """Whether this tells of a state before `seen`. The forge's stamps count whole seconds, so within
        one the chain of heads decides where it can."""
        if self.updated_at != seen.updated_at:
            return self.updated_at < seen.updated_at
        return bool(self.head_sha) and self.head_sha == seen.head_before


@dataclass(frozen=True, slots=True)
class Revision:
    """What is to run: a commit and the ref that it came from. Both are empty for a launch by hand of a
    prebuilt image: then the boot script decides, and the image's id tells what ran."""

    sha: str = ""
    ref: str = ""
