"""The part of the store in memory that is about people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TypeVar

from stager.domain.identity.accounts import AuditRecord, Session, ShareLink, Token

T = TypeVar("T", Session, Token, ShareLink)


@dataclass(frozen=True, slots=True)
class LedgerTables:
    """Sessions, tokens and share links by id; the audit log in order."""

    sessions: dict[str, Session] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    share_links: dict[str, ShareLink] = field(default_factory=dict)
    audit: dict[int, AuditRecord] = field(default_factory=dict)


class MemoryLedger:
    """A `stager.ports.accounts.Ledger` on tables that nobody else changes meanwhile."""

    def __init__(self, tables: LedgerTables, *, writable: bool) -> None:
        self._ledger = tables
        self._writable = writable

    def session(self, digest: str) -> Session | None:
        return next((s for s in self._ledger.sessions.values() if s.digest == digest), None)

    def sessions(self) -> list[Session]:
        return _by_age(self._ledger.sessions.values())

    def save_session(self, session: Session) -> None:
        self._ledger_to_write.sessions[session.id] = session

    def end_session(self, session_id: str) -> None:
        self._ledger_to_write.sessions.pop(session_id, None)

    def token(self, digest: str) -> Token | None:
        return next((t for t in self._ledger.tokens.values() if t.digest == digest), None)

    def tokens(self) -> list[Token]:
        return _by_age(self._ledger.tokens.values())

    def save_token(self, token: Token) -> None:
        self._ledger_to_write.tokens[token.id] = token

    def share_link(self, link_id: str) -> ShareLink | None:
        return self._ledger.share_links.get(link_id)

    def share_links(self, environment_id: str) -> list[ShareLink]:
        return _by_age(s for s in self._ledger.share_links.values() if s.environment_id == environment_id)

    def save_share_link(self, link: ShareLink) -> None:
        self._ledger_to_write.share_links[link.id] = link

    def record(self, entry: AuditRecord) -> None:
        audit = self._ledger_to_write.audit
        audit[len(audit) + 1] = replace(entry, seq=len(audit) + 1)

    def entries(self, *, limit: int, before: int | None = None) -> list[AuditRecord]:
        newest_first = reversed(self._ledger.audit.values())
        return [e for e in newest_first if before is None or e.seq < before][:limit]

    @property
    def _ledger_to_write(self) -> LedgerTables:
        if not self._writable:
            raise RuntimeError("a read must not write; use Store.write")
        return self._ledger


def _by_age(things: Iterable[T]) -> list[T]:
    return sorted(things, key=attrgetter("created_at", "id"))
