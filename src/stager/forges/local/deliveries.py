"""What the hook's messages say, once their signature was checked: Stager's side of `messages`."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from stager.domain.errors import Refused
from stager.domain.events import ChangeAction
from stager.domain.source import Change, Repository
from stager.forges.local.messages import SIGNATURE, signature
from stager.forges.local.register import Entry

FORGE = "local"
"""The forge's name, and the owner of all its repositories."""

LARGEST_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that happened to one branch.

    Args:
        repository: its name, that of its application.
    """

    repository: str
    action: ChangeAction
    change: Entry


_TEXT = TypeAdapter(Message)


def read(text: str | bytes) -> Message | None:
    """What `messages.write` wrote; None if that isn't what it is."""
    try:
        return _TEXT.validate_json(text)
    except ValidationError:
        return None


def verify(secret: bytes, headers: Mapping[str, str], body: bytes) -> None:
    """Return if `body` was signed with `secret`.

    Raises:
        Refused: 401, `signature-missing` or `signature-wrong`.
    """
    given = headers.get(SIGNATURE, "")
    if not given:
        raise refused("signature-missing", "The delivery isn't signed.")
    if not secret or not hmac.compare_digest(
        given.encode("utf-8", "replace"), signature(secret, body).encode()
    ):
        raise refused("signature-wrong", "The delivery's signature doesn't fit its body.")


def refused(reason: str, message: str) -> Refused:
    hint = "Run `stager forge init` for the repository again."
    return Refused(message, hint=hint, reason=reason, status=401)


def repository_of(name: str) -> Repository:
    """The repository of this name."""
    return Repository(f"{FORGE}:{name}", FORGE, name)


def change_of(name: str, entry: Entry, url: str = "") -> Change:
    """A branch of the repository of this name as a change.

    Args:
        url: where people can look at it.
    """
    repository = repository_of(name)
    return Change(
        repository=repository,
        number=entry.number,
        is_open=entry.is_open,
        head_sha=entry.head,
        head_ref=entry.branch,
        head_repository=repository,
        base_ref=entry.base,
        title=entry.title,
        author=entry.author,
        url=url,
        updated_at=datetime.fromtimestamp(entry.updated_at, UTC),
        merged=entry.merged,
    )
