"""The part of a transaction about accounts, with its rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

from stager.domain.identity.accounts import AuditFilter, AuditRecord, Person, Session, ShareLink, Token
from stager.domain.identity.roles import Role
from stager.ports.accounts import EVERY
from stager.stores.sqlite.rows import moment, stamp
from stager.stores.sqlite.statements import insert, select, upsert

T = TypeVar("T")

_PERSON = ("name", "by", "strategy", "proof")
_SESSION_COLUMNS = (
    *("id", "digest", *_PERSON),
    *("created_at", "renewed_at", "expires_at", "address", "agent"),
)
_TOKEN_COLUMNS = (
    *("id", "digest", *_PERSON, "label", "role", "apps"),
    *("created_at", "expires_at", "used_at", "revoked_at"),
)
_LINK_COLUMNS = ("id", "environment_id", "created_by", "note", "created_at", "expires_at", "revoked_at")
_AUDIT_COLUMNS = ("at", "actor", "address", "action", "app", "subject", "result", "detail")

_ALL_SESSIONS = select("sessions", _SESSION_COLUMNS)
_SESSIONS = f"{_ALL_SESSIONS} ORDER BY created_at, id"
_SESSION = f"{_ALL_SESSIONS} WHERE digest = :digest"
_SAVE_SESSION = upsert("sessions", _SESSION_COLUMNS, "id")
_DELETE_SESSION = "DELETE FROM sessions WHERE id = :id"

_ALL_TOKENS = select("tokens", _TOKEN_COLUMNS)
_TOKENS = f"{_ALL_TOKENS} ORDER BY created_at, id"
_TOKEN = f"{_ALL_TOKENS} WHERE digest = :digest"
_SAVE_TOKEN = upsert("tokens", _TOKEN_COLUMNS, "id")

_ALL_LINKS = select("share_links", _LINK_COLUMNS)
_LINK = f"{_ALL_LINKS} WHERE id = :id"
_LINKS = f"{_ALL_LINKS} ORDER BY created_at, id"
_LINKS_OF = f"{_ALL_LINKS} WHERE environment_id = :environment_id ORDER BY created_at, id"
_SAVE_LINK = upsert("share_links", _LINK_COLUMNS, "id")

_APPEND = insert("audit", _AUDIT_COLUMNS)
_ALL_AUDIT_RECORDS = select("audit", ("seq", *_AUDIT_COLUMNS))
_AUDIT_RECORDS = f"{_ALL_AUDIT_RECORDS} WHERE seq < :before ORDER BY seq DESC LIMIT :limit"
_MATCHING_AUDIT_RECORDS = f"""
    {_ALL_AUDIT_RECORDS} WHERE seq < :before
    AND (:action = '' OR action = :action) AND (:app = '' OR app = :app)
    AND (:result = '' OR result = :result)
    AND instr(
        lower(actor || ' ' || address || ' ' || action || ' ' || app || ' ' || subject || ' ' || detail),
        lower(:text)
    ) > 0
    ORDER BY seq DESC LIMIT :limit
"""
_LAST = (1 << 63) - 1
"""SQLite's largest integer: no record reaches it."""


class SqliteAccountRecords:
    """A `stager.ports.accounts.AccountRecords` on a connection with an open transaction."""

    def __init__(self, connection: sqlite3.Connection, *, writable: bool) -> None:
        self._connection = connection
        self._writable = writable

    def session(self, digest: str) -> Session | None:
        return self._first(_SESSION, _session_of, digest=digest)

    def sessions(self) -> list[Session]:
        return self._all(_SESSIONS, _session_of)

    def save_session(self, session: Session) -> None:
        self._change(_SAVE_SESSION, _session_row(session))

    def delete_session(self, session_id: str) -> None:
        self._change(_DELETE_SESSION, {"id": session_id})

    def token(self, digest: str) -> Token | None:
        return self._first(_TOKEN, _token_of, digest=digest)

    def tokens(self) -> list[Token]:
        return self._all(_TOKENS, _token_of)

    def save_token(self, token: Token) -> None:
        self._change(_SAVE_TOKEN, _token_row(token))

    def share_link(self, link_id: str) -> ShareLink | None:
        return self._first(_LINK, _link_of, id=link_id)

    def share_links(self, environment_id: str) -> list[ShareLink]:
        return self._all(_LINKS_OF, _link_of, environment_id=environment_id)

    def all_share_links(self) -> list[ShareLink]:
        return self._all(_LINKS, _link_of)

    def save_share_link(self, link: ShareLink) -> None:
        try:
            self._change(_SAVE_LINK, _link_row(link))
        except sqlite3.IntegrityError as error:
            raise ValueError(f"there is no environment {link.environment_id}") from error

    def append_audit_record(self, record: AuditRecord) -> None:
        self._change(_APPEND, _audit_row(record))

    def audit_records(
        self, *, limit: int, before: int | None = None, only: AuditFilter = EVERY
    ) -> list[AuditRecord]:
        return self._all(
            _AUDIT_RECORDS if only == EVERY else _MATCHING_AUDIT_RECORDS,
            _audit_record_of,
            before=_LAST if before is None else before,
            limit=limit,
            **({} if only == EVERY else asdict(only)),
        )

    def _first(self, query: str, read: Callable[[Sequence[Any]], T], **values: object) -> T | None:
        columns = self._connection.execute(query, values).fetchone()
        return None if columns is None else read(columns)

    def _all(self, query: str, read: Callable[[Sequence[Any]], T], **values: object) -> list[T]:
        return [read(columns) for columns in self._connection.execute(query, values)]

    def _change(self, statement: str, values: Mapping[str, object]) -> int:
        """Run a statement that writes. Returns the number of affected rows."""
        if not self._writable:
            raise RuntimeError("a read must not write; use Store.write")
        return self._connection.execute(statement, values).rowcount

    def _changed(self, statement: str, values: Mapping[str, object]) -> Any:
        """Run a statement that writes. Returns its first value; None when it returns no row."""
        if not self._writable:
            raise RuntimeError("a read must not write; use Store.write")
        rows = self._connection.execute(statement, values).fetchall()
        return rows[0][0] if rows else None


# Columns are in the order of the statements.


def _session_row(session: Session) -> dict[str, object]:
    return {
        "id": session.id,
        "digest": session.digest,
        **_person_row(session.person),
        "created_at": stamp(session.created_at),
        "renewed_at": stamp(session.renewed_at),
        "expires_at": stamp(session.expires_at),
        "address": session.address,
        "agent": session.agent,
    }


def _session_of(columns: Sequence[Any]) -> Session:
    session_id, digest, name, by, strategy, proof, created, renewed, expires, address, agent = columns
    person = Person(name, by, strategy, proof)
    return Session(
        session_id, digest, person, moment(created), moment(renewed), moment(expires), address, agent
    )


def _token_row(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "digest": token.digest,
        **_person_row(token.owner),
        "label": token.label,
        "role": str(token.role),
        "apps": None if token.apps is None else json.dumps(sorted(token.apps)),
        "created_at": stamp(token.created_at),
        "expires_at": stamp(token.expires_at),
        "used_at": _stamp(token.used_at),
        "revoked_at": _stamp(token.revoked_at),
    }


def _token_of(columns: Sequence[Any]) -> Token:
    token_id, digest, name, by, strategy, proof, label, role, apps, created, expires, used, revoked = columns
    return Token(
        id=token_id,
        digest=digest,
        label=label,
        owner=Person(name, by, strategy, proof),
        role=Role.named(role),
        apps=None if apps is None else frozenset(json.loads(apps)),
        created_at=moment(created),
        expires_at=moment(expires),
        used_at=_moment(used),
        revoked_at=_moment(revoked),
    )


def _person_row(person: Person) -> dict[str, object]:
    return {"name": person.name, "by": person.by, "strategy": person.strategy, "proof": person.proof}


def _link_row(link: ShareLink) -> dict[str, object]:
    return {
        "id": link.id,
        "environment_id": link.environment_id,
        "created_by": link.created_by,
        "note": link.note,
        "created_at": stamp(link.created_at),
        "expires_at": stamp(link.expires_at),
        "revoked_at": _stamp(link.revoked_at),
    }


def _link_of(columns: Sequence[Any]) -> ShareLink:
    link_id, environment_id, created_by, note, created, expires, revoked = columns
    return ShareLink(
        link_id, environment_id, created_by, note, moment(created), moment(expires), _moment(revoked)
    )


def _audit_row(record: AuditRecord) -> dict[str, object]:
    return {
        "at": stamp(record.at),
        "actor": record.actor,
        "address": record.address,
        "action": record.action,
        "app": record.app,
        "subject": record.subject,
        "result": record.result,
        "detail": record.detail,
    }


def _audit_record_of(columns: Sequence[Any]) -> AuditRecord:
    seq, at, actor, address, action, app, subject, result, detail = columns
    return AuditRecord(moment(at), actor, address, action, app, subject, result, detail, seq)


def _stamp(at: datetime | None) -> int | None:
    return None if at is None else stamp(at)


def _moment(at: int | None) -> datetime | None:
    return None if at is None else moment(at)
