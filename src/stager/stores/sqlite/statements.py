"""Statements that several tables have in common."""

from __future__ import annotations

from sqlalchemy import Insert, Table
from sqlalchemy.dialects.sqlite import insert


def upsert(table: Table, *key: str) -> Insert:
    """Insert or, where a row has this key, replace it in its place: `seq` tells when it first came."""
    statement = insert(table)
    rest = {c.name: statement.excluded[c.name] for c in table.c if c.name not in {*key, "seq"}}
    return statement.on_conflict_do_update(index_elements=key, set_=rest).inline()
