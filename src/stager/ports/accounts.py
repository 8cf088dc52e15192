"""What is remembered about people. Part of every transaction."""

from __future__ import annotations

from typing import Protocol

from stager.domain.identity.accounts import AuditRecord, Session, ShareLink, Token


class AccountRecords(Protocol):
    """Sessions, tokens, share links and the audit log."""

    def session(self, digest: str) -> Session | None:
        """The session whose secret has this digest."""

    def sessions(self) -> list[Session]:
        """All of them, oldest first."""

    def save_session(self, session: Session) -> None:
        """Insert or replace, by id."""

    def end_session(self, session_id: str) -> None:
        """Forget it; no effect when there is none."""

    def token(self, digest: str) -> Token | None:
        """The token of this digest, whether it is still good or not."""

    def tokens(self) -> list[Token]:
        """All of them, oldest first."""

    def save_token(self, token: Token) -> None:
        """Insert or replace, by id."""

    def share_link(self, link_id: str) -> ShareLink | None:
        """The link of this id, whether it is still good or not."""

    def share_links(self, environment_id: str) -> list[ShareLink]:
        """An environment's, oldest first."""

    def save_share_link(self, link: ShareLink) -> None:
        """Insert or replace, by id."""

    def record(self, entry: AuditRecord) -> None:
        """Add a line to the audit log. There is no way to change or remove one."""

    def entries(self, *, limit: int, before: int | None = None) -> list[AuditRecord]:
        """Lines of the audit log, newest first.

        Args:
            before: only those whose `seq` is smaller.
        """
