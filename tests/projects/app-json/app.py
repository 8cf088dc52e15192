import http.server
import os


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"app.json, {os.environ['THEME']}, key of {len(os.environ['SESSION_KEY'])}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
