"""The application under test. Its environment says how it is to behave:

BOOT: seconds until it listens. EXIT: it ends at once with this code. STATUS: what `/` answers.
DEAF: it never listens. LIVES: seconds until it ends by itself.
"""

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
        if self.path == "/env":
            self.answer(200, json.dumps(ENV))
        else:
            self.answer(
                int(ENV.get("STATUS", "200")), f"{NAME} {ENV.get('VERSION', ENV.get('STAGER_SHA', ''))}"
            )

    def do_POST(self) -> None:
        self.answer(200, f"{NAME} got {len(self.rfile.read(int(self.headers['Content-Length'])))} bytes")

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
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
