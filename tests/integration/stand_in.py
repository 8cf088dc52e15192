"""A service that notes down what it is asked, and a registry that wants credentials: PORT NOTES [ADDRESS].

It speaks TLS where a certificate with its key lies beside the notes.
"""

from __future__ import annotations

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization") or ""
        with NOTES.open("a") as notes:
            notes.write(json.dumps({"path": self.path, "authorization": authorization}) + "\n")
        if self.path.startswith("/v2/"):
            self.send_response(401 if not authorization else 404)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.end_headers()
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a service of the host\n" if self.command == "GET" else b"")

    def do_HEAD(self) -> None:
        self.do_GET()


NOTES = Path(sys.argv[2])
server = HTTPServer((sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1", int(sys.argv[1])), Handler)
if NOTES.with_suffix(".pem").exists():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(NOTES.with_suffix(".pem"))
    server.socket = tls.wrap_socket(server.socket, server_side=True)
NOTES.touch()
server.serve_forever()
