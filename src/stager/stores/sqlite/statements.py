"""Statements for any table."""

from __future__ import annotations

from sqlalchemy import Insert, Table
from sqlalchemy.dialects.sqlite import insert


def upsert(table: Table, *key: str) -> Insert:
    """Insert a row, or update the row with this key; `seq` keeps the order of the first inserts."""
    statement = insert(table)
    rest = {c.name: statement.excluded[c.name] for c in table.c if c.name not in {*key, "seq"}}
    return statement.on_conflict_do_update(index_elements=key, set_=rest).inline()
