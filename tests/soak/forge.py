"""Where `git.example.org` of the pages leads: a web server with Stager's repository, in a container."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.integration.stager import docker

NAME = "git.example.org"
ROOT = Path(__file__).resolve().parents[2]
IMAGE = "stager-base/python-build:1"
SERVE = """
import http.server, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/certificate.pem", "/key.pem")
handler = lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory="/www")
server = http.server.ThreadingHTTPServer(("", 443), handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


class Forge:
    """One.

    Args:
        container: its id.
        certificate: which it is known by.
    """

    def __init__(self, container: str, certificate: Path) -> None:
        self.container, self.certificate = container, certificate

    @property
    def address(self) -> str:
        """Its address on Docker's bridge."""
        return docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", self.container)

    def commit(self, message: str) -> None:
        """Push an empty commit."""
        who = "-c user.name=x -c user.email=x@example.org"
        script = (
            f"rm -rf /w && git clone -q /www/stager.git /w && cd /w && git {who} commit -q --allow-empty"
            f" -m {message} && git push -q && git -C /www/stager.git update-server-info"
        )
        docker("exec", self.container, "bash", "-ec", script)


@contextlib.contextmanager
def running_forge(label: str) -> Iterator[Forge]:
    """One with this checkout's commit, for as long as the block lasts.

    Args:
        label: of its container.
    """
    name = f"test-forge-{secrets.token_hex(4)}"
    serve = ["python3", "-c", SERVE]
    container = docker("create", f"--name={name}", f"--label={label}", IMAGE, *serve)
    try:
        with tempfile.TemporaryDirectory(prefix="stager-forge-") as folder:
            tree = Path(folder)
            (tree / "www" / "stager" / "raw" / "scripts").mkdir(parents=True)
            certificate = _certificate(tree)
            script = tree / "www" / "stager" / "raw" / "scripts" / "install"
            script.write_text((ROOT / "scripts" / "install").read_text())
            _bare(tree / "www" / "stager.git")
            for path in ("www", "key.pem", "certificate.pem"):
                docker("cp", f"{tree}/{path}", f"{container}:/{path}")
            docker("start", container)
            yield Forge(container, certificate)
    finally:
        docker("rm", "--force", "--volumes", container)


def _bare(target: Path) -> None:
    """A bare clone of this checkout's commit, for plain file requests."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(target)], check=True)
    push = ["git", "-C", str(ROOT), "push", "--quiet", str(target), "HEAD:refs/heads/main"]
    subprocess.run(push, check=True)
    subprocess.run(["git", "-C", str(target), "gc", "--quiet"], check=True)
    subprocess.run(["git", "-C", str(target), "update-server-info"], check=True)


def _certificate(folder: Path) -> Path:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    words += ["-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/certificate.pem"]
    subprocess.run([*words, *files], check=True, capture_output=True)
    (folder / "key.pem").chmod(0o644)
    return folder / "certificate.pem"
