"""The schema's version. Apart from `schema`, because no library is needed to compare it."""

from __future__ import annotations

VERSION = "v7"
"""The newest migration: it brings a database to the tables of `schema`."""

PRE_RELEASE = frozenset({"0001", "0002", "0003", "0004"})
"""Versions of schemas from before the first supported one. They can't be migrated."""
