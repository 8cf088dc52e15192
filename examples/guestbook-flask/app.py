"""A guestbook: entries in PostgreSQL, and a queue in Redis for the worker."""

from __future__ import annotations

import os

import psycopg
import redis
from flask import Flask, redirect, render_template_string, request
from werkzeug.wrappers import Response

QUEUE = "entries"
LONGEST = 200
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Guestbook</title>
<h1>Guestbook</h1>
<form method="post"><input name="author" placeholder="Name" required>
<input name="words" placeholder="Words" required> <button>Write</button></form>
<ul>{% for author, words, thanked in entries %}
<li><b>{{ author }}</b>: {{ words }}{% if thanked %} (thanked){% endif %}</li>
{% else %}<li>No entry yet.</li>{% endfor %}
</ul>
<p>{{ ref }}{% if mail %} · <a href="{{ mail }}">mails</a>{% endif %}</p>
"""

app = Flask(__name__)


def database() -> psycopg.Connection:
    return psycopg.connect(os.environ["DATABASE_URL"])


@app.get("/")
def entries() -> str:
    with database() as connection:
        query = "SELECT author, words, thanked_at IS NOT NULL FROM entries ORDER BY id DESC LIMIT 50"
        rows = connection.execute(query).fetchall()
    environ = os.environ
    return render_template_string(
        PAGE, entries=rows, ref=environ.get("STAGER_REF", ""), mail=environ.get("STAGER_URL_MAIL")
    )


@app.post("/")
def write() -> Response:
    author, words = (request.form[name][:LONGEST] for name in ("author", "words"))
    insert = "INSERT INTO entries (author, words) VALUES (%s, %s) RETURNING id"
    with database() as connection:
        row = connection.execute(insert, (author, words)).fetchone()
    if row is not None:
        redis.Redis.from_url(os.environ["REDIS_URL"]).rpush(QUEUE, row[0])
    return redirect("/", 303)


@app.get("/healthz")
def healthz() -> str:
    with database() as connection:
        connection.execute("SELECT 1 FROM entries LIMIT 1")
    return "fine"
