"""The part of the in-memory store about accounts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TypeVar

from stager.domain.identity.accounts import AuditFilter, AuditRecord, Session, ShareLink, Token
from stager.ports.accounts import EVERY

T = TypeVar("T", Session, Token, ShareLink)


@dataclass(frozen=True, slots=True)
class AccountTables:
    """Sessions, tokens and share links by id; the audit log in order."""

    sessions: dict[str, Session] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    share_links: dict[str, ShareLink] = field(default_factory=dict)
    audit: dict[int, AuditRecord] = field(default_factory=dict)


class MemoryAccountRecords:
    """A `stager.ports.accounts.AccountRecords` on tables that only this transaction changes."""

    def __init__(self, tables: AccountTables, *, writable: bool) -> None:
        self._accounts = tables
        self._writable = writable

    def session(self, digest: str) -> Session | None:
        return next((s for s in self._accounts.sessions.values() if s.digest == digest), None)

    def sessions(self) -> list[Session]:
        return _by_age(self._accounts.sessions.values())

    def save_session(self, session: Session) -> None:
        self._writable_accounts.sessions[session.id] = session

    def delete_session(self, session_id: str) -> None:
        self._writable_accounts.sessions.pop(session_id, None)

    def token(self, digest: str) -> Token | None:
        return next((t for t in self._accounts.tokens.values() if t.digest == digest), None)

    def tokens(self) -> list[Token]:
        return _by_age(self._accounts.tokens.values())

    def save_token(self, token: Token) -> None:
        self._writable_accounts.tokens[token.id] = token

    def share_link(self, link_id: str) -> ShareLink | None:
        return self._accounts.share_links.get(link_id)

    def share_links(self, environment_id: str) -> list[ShareLink]:
        return [link for link in self.all_share_links() if link.environment_id == environment_id]

    def all_share_links(self) -> list[ShareLink]:
        return _by_age(self._accounts.share_links.values())

    def save_share_link(self, link: ShareLink) -> None:
        self._writable_accounts.share_links[link.id] = link

    def append_audit_record(self, record: AuditRecord) -> None:
        audit = self._writable_accounts.audit
        audit[len(audit) + 1] = replace(record, seq=len(audit) + 1)

    def audit_records(
        self, *, limit: int, before: int | None = None, only: AuditFilter = EVERY
    ) -> list[AuditRecord]:
        newest_first = reversed(self._accounts.audit.values())
        return [e for e in newest_first if (before is None or e.seq < before) and _matches(only, e)][:limit]

    @property
    def _writable_accounts(self) -> AccountTables:
        if not self._writable:
            raise RuntimeError("a read must not write; use Store.write")
        return self._accounts


def _matches(only: AuditFilter, record: AuditRecord) -> bool:
    exact = ("action", "app", "result")
    if any(getattr(only, name) not in ("", getattr(record, name)) for name in exact):
        return False
    fields = (record.actor, record.address, record.action, record.app, record.subject, record.detail)
    return only.text.lower() in " ".join(fields).lower()


def _by_age(records: Iterable[T]) -> list[T]:
    return sorted(records, key=attrgetter("created_at", "id"))
