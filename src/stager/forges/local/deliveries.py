"""Deliveries of the local forge: signatures, and one delivery for each pushed branch."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from pydantic import TypeAdapter, ValidationError

from stager.domain.application import LOCAL_OWNER
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeAction, Delivery
from stager.domain.source import Change, Repository, repository_id
from stager.forges.local.push_client import BRANCHES, PREFIX, SIGNATURE
from stager.forges.local.register import Entry, Register
from stager.ports.forge import Signed

FORGE = LOCAL_OWNER
"""The forge's name, and the owner of all its repositories."""

LARGEST_BODY = 1024 * 1024
"""Bytes; some 6,000 branches in one push."""

NO_COMMIT = {"0"}
"""The digits of the id that git reports for a new ref (githooks(5), `post-receive`)."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event of a branch.

    Args:
        repository: its name, which is the application's.
    """

    repository: str
    action: ChangeAction
    change: Entry


_TEXT = TypeAdapter(Message)


def read(delivery: Delivery) -> Message | None:
    """Parse a delivery of this forge; None if it can't be parsed."""
    try:
        return _TEXT.validate_json(delivery.payload)
    except ValidationError:
        return None


def of_push(name: str, delivery_id: str, refs: Mapping[str, bool], register: Register) -> list[Delivery]:
    """The deliveries of a push.

    Args:
        name: the repository's.
        delivery_id: of the hook's request.
        refs: the refs that were pushed, and whether they are new.
        register: the repository's changes after it.
    """
    changes = register.by_branch
    known = ((changes.get(ref.removeprefix(BRANCHES)), is_new) for ref, is_new in refs.items())
    messages = [Message(name, _action(entry, is_new=is_new), entry) for entry, is_new in known if entry]
    return [
        Delivery(f"{delivery_id}-{number}", FORGE, message.action, _TEXT.dump_json(message).decode())
        for number, message in enumerate(messages)
    ]


def refs_of(body: bytes) -> dict[str, bool]:
    """The pushed branches as refs, and whether they are new. Raises `Refused`."""
    try:
        lines = [line.split(" ", 2) for line in body.decode(errors="replace").split("\n") if line]
        return {ref: set(old) == NO_COMMIT for old, _, ref in lines if ref.startswith(BRANCHES)}
    except ValueError as error:
        raise Refused("The delivery's body can't be read.", reason="delivery-unreadable") from error


def _action(entry: Entry, *, is_new: bool) -> ChangeAction:
    if not entry.is_open:
        return ChangeAction.CLOSED
    if not is_new:
        return ChangeAction.SYNCHRONIZE
    return ChangeAction.OPENED if entry.updated_at == entry.created_at else ChangeAction.REOPENED


class SignedPush(Signed):
    """Verifies a body's signature with this secret.

    Raises:
        Refused: 401, `signature-missing` or, for an invalid format, `signature-wrong`.
    """

    def __init__(self, secret: bytes, headers: Mapping[str, str]) -> None:
        self._given = headers.get(SIGNATURE, "")
        if not self._given:
            raise refused("signature-missing", "The delivery isn't signed.")
        if not secret or len(self._given) != len(PREFIX) + sha256().digest_size * 2:
            raise _wrong()
        self._mac = hmac.new(secret, b"", "sha256")

    def update(self, piece: bytes) -> None:
        self._mac.update(piece)

    def check(self) -> None:
        expected = PREFIX + self._mac.hexdigest()
        if not hmac.compare_digest(self._given.encode("utf-8", "replace"), expected.encode()):
            raise _wrong()


def _wrong() -> Refused:
    return refused("signature-wrong", "The delivery's signature doesn't match its body.")


def refused(reason: str, message: str) -> Refused:
    hint = "Run `stager forge init` for the repository again."
    return Refused(message, hint=hint, reason=reason, status=401)


def repository_of(name: str) -> Repository:
    """The repository of this name."""
    return Repository(repository_id(FORGE, name), FORGE, name)


def change_of(name: str, entry: Entry, url: str = "") -> Change:
    """A branch as a change.

    Args:
        url: a page about it.
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
