"""Fills the shelf, so that there is something to look at. Runs once the application answers, before anybody
sees it: `hooks.after_launch` in .stager.yml. It may run again.
"""

from __future__ import annotations

from contextlib import closing

from app import add, connect

BOOKS = [
    ("The Left Hand of Darkness", "Ursula K. Le Guin"),
    ("A Room with a View", "E. M. Forster"),
    ("The Summer Book", "Tove Jansson"),
    ("Austerlitz", "W. G. Sebald"),
    ("Kindred", "Octavia E. Butler"),
]

with closing(connect()) as connection, connection:
    for title, author in BOOKS:
        add(connection, title, author)
print(f"seeded {len(BOOKS)} books")
