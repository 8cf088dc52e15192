"""An HTTP server with the answers of a test, which records requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """What it says."""

    status: int = 200
    body: str = ""
    kind: str = "text/html"
    headers: dict[str, str] = field(default_factory=dict)


class Stranger:
    """A server that isn't Stager.

    Attributes:
        answers: by method and path; anything else has the one for "".
        asked: method, path, credentials and body of each request.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answers: dict[str, list[Answer] | Answer] = {"": Answer(404)}
        self.asked: list[tuple[str, str, str, str]] = []

    def answer(self, method: str, path: str) -> Answer:
        """The next one; the last of several stays."""
        found = self.answers.get(f"{method} {path.partition('?')[0]}", self.answers[""])
        if isinstance(found, Answer):
            return found
        return found.pop(0) if len(found) > 1 else found[0]


@contextmanager
def stranger() -> Iterator[Stranger]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            one.asked.append((self.command, self.path, self.headers.get("authorization", ""), body))
            said = one.answer(self.command, self.path)
            self.send_response_only(said.status)
            content = said.body.encode()
            for name, value in {
                "Date": self.date_time_string(),
                "Content-Type": said.kind,
                "Content-Length": str(len(content)),
                **said.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one = Stranger(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
