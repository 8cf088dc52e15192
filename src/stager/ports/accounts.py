"""The part of a transaction about accounts: sessions, tokens, share links and the audit log."""

from __future__ import annotations

from typing import Protocol

from stager.domain.identity.accounts import AuditFilter, AuditRecord, Session, ShareLink, Token

EVERY = AuditFilter()


class AccountRecords(Protocol):
    """Sessions, tokens, share links and the audit log."""

    def session(self, digest: str) -> Session | None:
        """The session whose secret has this digest."""

    def sessions(self) -> list[Session]:
        """All sessions, oldest first."""

    def save_session(self, session: Session) -> None:
        """Insert or replace, by id."""

    def delete_session(self, session_id: str) -> None:
        """Delete it; no effect when there is none."""

    def token(self, digest: str) -> Token | None:
        """The token with this digest, also an expired or revoked one."""

    def tokens(self) -> list[Token]:
        """All tokens, oldest first."""

    def save_token(self, token: Token) -> None:
        """Insert or replace, by id."""

    def share_link(self, link_id: str) -> ShareLink | None:
        """The link with this id, also an expired or revoked one."""

    def share_links(self, environment_id: str) -> list[ShareLink]:
        """An environment's links, oldest first."""

    def all_share_links(self) -> list[ShareLink]:
        """The links of all environments, oldest first."""

    def save_share_link(self, link: ShareLink) -> None:
        """Insert or replace, by id. Raises ValueError when there is no such environment."""

    def append_audit_record(self, record: AuditRecord) -> None:
        """Append to the audit log. Its records can't be changed or deleted."""

    def audit_records(
        self, *, limit: int, before: int | None = None, only: AuditFilter = EVERY
    ) -> list[AuditRecord]:
        """Records of the audit log, newest first.

        Args:
            before: only those with a smaller `seq`.
            only: only those that match.
        """
