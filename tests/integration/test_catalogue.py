"""The catalogue's entries in real containers: healthy by their check, reached by their URL with the generated
password, and with their data after a clean stop."""

from __future__ import annotations

import smtplib
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import pytest

from stager.domain.catalogue import find
from stager.domain.service import ServiceSpec, provided, with_generated
from tests.integration.images import service_image
from tests.integration.stager import docker

pytestmark = pytest.mark.docker

PASSWORD = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
CONFINED = ("--init", "--cap-drop=NET_RAW", "--cap-drop=MKNOD", "--cap-drop=AUDIT_WRITE", "--pids-limit=64")


def secret_of(name: str) -> str:
    return f"{PASSWORD}{len(name)}"


@dataclass
class Service:
    """A service of the catalogue, run manually as an instance is."""

    spec: ServiceSpec
    network: str
    volume: str
    container: str = field(default="")

    @property
    def variables(self) -> dict[str, str]:
        """What the application gets."""
        return {name: with_generated(value, secret_of) for name, value in provided([self.spec]).items()}

    @property
    def address(self) -> str:
        every = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", "--format", every, self.container)

    def start(self) -> None:
        own = {name: with_generated(value, secret_of) for name, value in self.spec.variables.items()}
        self.container = docker(
            "run",
            "--detach",
            "--label=stager.test",
            f"--network={self.network}",
            f"--network-alias={self.spec.name}",
            f"--hostname={self.spec.name}",
            f"--memory={self.spec.memory}",
            *CONFINED,
            *(f"--env={name}={value}" for name, value in own.items()),
            *(f"--volume={self.volume}:{mount.target}" for mount in self.spec.mounts),
            self.spec.image,
        )

    def is_healthy(self) -> bool:
        check = self.spec.check
        assert check is not None
        if check.command:
            ran = subprocess.run(
                ["docker", "exec", self.container, *check.command], capture_output=True, check=False
            )
            return ran.returncode == 0
        try:
            socket.create_connection((self.address, check.port or 0), timeout=1).close()
        except OSError:
            return False
        return True

    def wait(self) -> None:
        deadline = time.monotonic() + 120
        while not self.is_healthy():
            state = docker("inspect", "--format", "{{.State.Status}}", self.container)
            assert state == "running", docker("logs", "--tail=20", self.container)
            assert time.monotonic() < deadline, docker("logs", "--tail=20", self.container)
            time.sleep(0.3)

    def stop(self) -> None:
        """Stop it as the engine does, and check that it ended by itself."""
        docker("kill", f"--signal={self.spec.stop_signal or 'SIGTERM'}", self.container)
        exit_code = docker("wait", self.container)
        assert exit_code in ("0", "143"), docker("logs", "--tail=20", self.container)
        docker("rm", "--volumes", self.container)
        self.container = ""

    def client(self, *command: str) -> str:
        """What a program prints in another container, with the variables of the application."""
        given = [f"--env={name}={value}" for name, value in self.variables.items()]
        network = f"--network={self.network}"
        return docker(
            "run", "--rm", "--label=stager.test", network, *given, "--entrypoint=sh",
            self.spec.image, "-ec", *command,
        )  # fmt: skip


@contextmanager
def running(name: str, image: str) -> Iterator[Service]:
    entry = find(image)
    assert entry is not None
    unique = f"stager-test-{uuid.uuid4().hex[:12]}"
    docker("network", "create", "--label=stager.test", unique)
    docker("volume", "create", "--label=stager.test", unique)
    service = Service(entry.complete(ServiceSpec(name, image=image)), unique, unique)
    try:
        service.start()
        service.wait()
        yield service
    finally:
        if service.container:
            docker("rm", "--force", "--volumes", service.container)
        docker("volume", "rm", unique)
        docker("network", "rm", unique)


def restart(service: Service) -> None:
    service.stop()
    service.start()
    service.wait()


def test_postgresql() -> None:
    with running("database", service_image("postgres")) as service:
        service.client('psql "$DATABASE_URL" -c "CREATE TABLE kept AS SELECT 42 AS value"')
        restart(service)
        assert service.client('psql "$DATABASE_URL" -Atc "TABLE kept"') == "42"
        assert service.client('psql -Atc "SELECT current_user"') == "app", "the PG variables suffice"
        wrong = service.client('PGPASSWORD=wrong psql -w -c "SELECT 1" 2>&1 || true')
        assert "password authentication failed" in wrong


def test_mariadb() -> None:
    sql = (
        'export MYSQL_PWD="${{PW:-$MYSQL_PASSWORD}}"; mariadb --batch --skip-column-names'
        ' --host="$MYSQL_HOST" --port="$MYSQL_PORT" --user="$MYSQL_USER" "$MYSQL_DATABASE" --execute="{}"'
    )
    with running("database", service_image("mariadb")) as service:
        service.client(sql.format("CREATE TABLE kept AS SELECT 42 AS value"))
        restart(service)
        assert service.client(sql.format("SELECT value FROM kept")) == "42"
        url = urlsplit(service.variables["DATABASE_URL"])
        assert (url.scheme, url.hostname, url.port, url.path) == ("mysql", "database", 3306, "/app")
        assert (url.username, url.password) == ("app", service.variables["MYSQL_PASSWORD"])
        wrong = service.client(f"PW=wrong; {sql.format('SELECT 1')} 2>&1 || true")
        assert "Access denied" in wrong


def test_redis() -> None:
    with running("cache", service_image("redis")) as service:
        service.client('redis-cli -u "$REDIS_URL" set kept 42')
        restart(service)
        assert service.client('redis-cli -u "$CACHE_URL" get kept') == "42"


def test_rabbitmq() -> None:
    with running("queue", service_image("rabbitmq")) as service:
        docker("exec", service.container, "rabbitmqctl", "--quiet", "add_vhost", "kept")
        restart(service)
        assert "kept" in docker("exec", service.container, "rabbitmqctl", "--quiet", "list_vhosts").split()
        url = urlsplit(service.variables["AMQP_URL"])
        assert (url.hostname, url.port, unquote(url.path[1:])) == ("queue", 5672, "/")
        assert signs_in(service.address, url.username or "", url.password or "")
        assert not signs_in(service.address, url.username or "", "wrong")


def signs_in(address: str, user: str, password: str) -> bool:
    """Whether the broker accepts a password: a handshake of AMQP 0-9-1, sections 1.4 and 2.2.4
    (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf)."""
    response = f"\0{user}\0{password}".encode()
    arguments = struct.pack("!HHI", 10, 11, 0) + b"\x05PLAIN" + struct.pack("!I", len(response)) + response
    arguments += b"\x05en_US"
    with socket.create_connection((address, 5672), timeout=30) as connection:
        connection.sendall(b"AMQP\0\0\x09\x01")
        assert method_of(connection) == (10, 10), "Connection.Start"
        connection.sendall(struct.pack("!BHI", 1, 0, len(arguments)) + arguments + b"\xce")
        try:
            return method_of(connection) == (10, 30)
        except ConnectionResetError:  # so it ends connections with a wrong password
            return False


def method_of(connection: socket.socket) -> tuple[int, ...]:
    """The class and method of the next frame; empty at the end of the connection."""
    with connection.makefile("rb", buffering=0) as stream:
        header = stream.read(7) or b""
        if len(header) < 7:
            return ()
        payload = b""
        while len(payload) <= struct.unpack("!I", header[3:])[0]:
            payload += stream.read(1) or b"\xce"
    return struct.unpack("!HH", payload[:4])


def test_maildev() -> None:
    with running("mail", service_image("maildev")) as service:
        assert service.variables["SMTP_URL"] == "smtp://mail:1025"
        with smtplib.SMTP(service.address, 1025, timeout=30) as client:
            client.sendmail("a@example.org", ["b@example.org"], "Subject: It is kept\n\nHere.\n")
        with urlopen(f"http://{service.address}:{service.spec.port}/email", timeout=30) as answer:
            assert b"It is kept" in answer.read()
        service.stop()
