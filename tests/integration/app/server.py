"""The application under test. Its environment says how it is to behave:

BOOT: seconds until it listens. EXIT: it ends at once with this code. STATUS: what `/` answers.
DEAF: it never listens. LIVES: seconds until it ends by itself. SETS_COOKIE: with every answer.
`/echo` returns what it received, `/digest` the digest of the body; a WebSocket returns each message;
`/events` is an event stream without an end.
"""

import base64
import hashlib
import http.server
import json
import os
import sys
import threading
import time

ENV = dict(os.environ)
NAME = ENV.get("container_name", "?")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/slow/"):
            time.sleep(float(self.path.removeprefix("/slow/")))
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.upgrade()
        elif self.path.startswith("/echo"):
            self.echo()
        elif self.path == "/events":
            self.events()
        elif self.path == "/env":
            self.answer(200, json.dumps(ENV))
        else:
            self.answer(
                int(ENV.get("STATUS", "200")), f"{NAME} {ENV.get('VERSION', ENV.get('STAGER_SHA', ''))}"
            )

    def do_POST(self) -> None:
        if self.path.startswith("/echo"):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.echo()
            return
        if self.path == "/digest":
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(200, hashlib.sha256(body).hexdigest())
            return
        self.answer(200, f"{NAME} got {len(self.rfile.read(int(self.headers['Content-Length'])))} bytes")

    def echo(self) -> None:
        got = {"method": self.command, "path": self.path, "headers": self.headers.items()}
        self.answer(200, json.dumps(got))

    def events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        number = 0
        while True:
            self.wfile.write(b"data: %d\n\n" % number)
            self.wfile.flush()
            number += 1
            time.sleep(0.2)

    def upgrade(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header(
            "Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        )
        self.send_header("X-Path", self.path)
        self.end_headers()
        self.wfile.flush()
        while data := self.connection.recv(4096):
            self.connection.sendall(data)
        self.close_connection = True

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if "SETS_COOKIE" in ENV:
            self.send_header("Set-Cookie", ENV["SETS_COOKIE"])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


print(f"booting {NAME}", flush=True)
if "EXIT" in ENV:
    print("giving up: the database is missing", flush=True)
    sys.exit(int(ENV["EXIT"]))
time.sleep(float(ENV.get("BOOT", "0")))
if "DEAF" in ENV:
    time.sleep(3600)
if "LIVES" in ENV:
    threading.Timer(float(ENV["LIVES"]), lambda: os._exit(7)).start()
Server(("0.0.0.0", 3000), Handler).serve_forever()
