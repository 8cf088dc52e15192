"""Parts of SQL statements that are made from the fields of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


def columns_of(table: str, row: type[NamedTuple]) -> str:
    """Return the columns of a row for a statement that reads several tables."""
    return ", ".join(f'{table}."{name}"' for name in row._fields)


def select(table: str, columns: Sequence[str]) -> str:
    """Read these columns."""
    return f"SELECT {_quoted(columns)} FROM {table}"


def insert(table: str, columns: Sequence[str]) -> str:
    """Insert a row with these columns, whose values are parameters of the same names."""
    values = ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO {table} ({_quoted(columns)}) VALUES ({values})"


def upsert(table: str, columns: Sequence[str], *key: str) -> str:
    """Insert a row, or update the row with this key; its place in the order of the first inserts stays."""
    rest = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
    return f"{insert(table, columns)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {rest}"


def _quoted(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
