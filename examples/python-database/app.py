"""A shelf of books in an SQLite database: what an application with a database looks like as a preview.

Nothing but Python's standard library. Every preview has a database of its own, and it begins empty; `seed.py`
fills it.
"""

from __future__ import annotations

import html
import os
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

DATABASE = os.environ.get("DATABASE", "/data/shelf.db")
PORT = int(os.environ.get("PORT", "8080"))
LARGEST_FORM = 10_000
LONGEST = 120

PAGE = (Path(__file__).parent / "page.html").read_text("utf-8")
ROW = """<li class="{state}"><form method="post" action="/read/{id}">
<button title="Read it?" aria-label="Mark {title} as read">{mark}</button></form>
<span><b>{title}</b><i>{author}</i></span></li>"""


def connect() -> sqlite3.Connection:
    """The database, with its table."""
    connection = sqlite3.connect(DATABASE, timeout=10)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS books (id INTEGER PRIMARY KEY, title TEXT NOT NULL UNIQUE,"
        " author TEXT NOT NULL, is_read INTEGER NOT NULL DEFAULT 0)"
    )
    return connection


def add(connection: sqlite3.Connection, title: str, author: str) -> None:
    """Put a book on the shelf; no effect when it is there."""
    connection.execute("INSERT OR IGNORE INTO books (title, author) VALUES (?, ?)", (title, author))


def render(books: list[sqlite3.Row]) -> str:
    rows = [
        ROW.format(
            id=book["id"],
            title=html.escape(book["title"]),
            author=html.escape(book["author"]),
            mark="✓" if book["is_read"] else "",
            state="read" if book["is_read"] else "unread",
        )
        for book in books
    ]
    shown = {
        "books": "\n".join(rows) or '<li class="none">The shelf is empty.</li>',
        "count": str(len(books)),
        "read": str(sum(book["is_read"] for book in books)),
        "ref": html.escape(os.environ.get("STAGER_REF") or "your machine"),
        "sha": html.escape(os.environ.get("STAGER_SHA", "")[:7]),
    }
    page = PAGE
    for name, value in shown.items():
        page = page.replace(f"<!-- {name} -->", value)
    return page


class Shelf(BaseHTTPRequestHandler):
    """The pages."""

    def do_GET(self) -> None:
        with closing(connect()) as connection:
            books = connection.execute("SELECT * FROM books ORDER BY is_read, title").fetchall()
        if self.path == "/healthz":
            self.answer(200, "fine", "text/plain")
        elif self.path == "/":
            self.answer(200, render(books))
        else:
            self.answer(404, "<h1>There is no such page</h1>")

    def do_POST(self) -> None:
        form = self.form()
        with closing(connect()) as connection, connection:
            if self.path == "/books" and form.get("title"):
                add(connection, form["title"], form.get("author", "somebody"))
            elif self.path.startswith("/read/"):
                number = self.path.removeprefix("/read/")
                connection.execute("UPDATE books SET is_read = NOT is_read WHERE id = ?", (number,))
        self.send_response(303)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def form(self) -> dict[str, str]:
        """The fields of the form that was sent, without spaces around them and cut to length."""
        length = min(int(self.headers.get("Content-Length") or 0), LARGEST_FORM)
        fields = parse_qs(self.rfile.read(length).decode("utf-8", "replace"))
        return {name: values[0].strip()[:LONGEST] for name, values in fields.items()}

    def answer(self, status: int, text: str, kind: str = "text/html") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", PORT), Shelf).serve_forever()  # noqa: S104 (it is in a container)
