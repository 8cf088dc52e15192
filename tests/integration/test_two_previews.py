"""Two previews of one application, with the same names of services and volumes: no packet and no row gets
from one to the other."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import Guarded
from tests.integration.images import service_image
from tests.integration.namespaces import needs_namespaces
from tests.integration.stager import StagerUnderTest, docker, until

pytestmark = [pytest.mark.docker, needs_namespaces]

SERVICES = {
    "store": {"image": "stager-test/app:1", "command": ["python3", "/server.py"], "health": 3000},
    "api": {"image": "stager-test/app:1", "command": ["python3", "/server.py"], "routed": 3000},
}
CONNECT = """
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        print(place)
    except OSError:
        pass
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        datagram.sendto(b"x", (host, int(port)))
    except OSError:
        pass
"""
"""Prints the places that accept a connection; also sends a datagram to each."""
SNIFF = """
import socket, struct
every = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
print("ready", flush=True)
while True:
    print(socket.inet_ntoa(every.recv(65535)[12:16]), flush=True)
"""
"""Prints the source of each IPv4 packet that arrives (RFC 791, section 3.1)."""


class Preview:
    """One preview with its containers."""

    def __init__(self, stager: StagerUnderTest, name: str) -> None:
        own = f"label=stager.environment={stager.environment(name)['id']}"
        found = [stager.inspect(container) for container in stager.containers(own)]
        self.containers = {each["Config"]["Labels"]["stager.service"]: each for each in found}

    def id(self, service: str) -> str:
        return str(self.containers[service]["Id"])

    @property
    def addresses(self) -> list[str]:
        """Of all its containers, in all their networks."""
        networks = (each["NetworkSettings"]["Networks"].values() for each in self.containers.values())
        return [network["IPAddress"] for each in networks for network in each]

    def connects(self, service: str, *places: str) -> list[str]:
        return docker("exec", self.id(service), "python3", "-c", CONNECT, *places).split()

    def sql(self, statement: str) -> str:
        shell = f'psql --no-psqlrc -Atq -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "{statement}"'
        return docker("exec", self.id("database"), "sh", "-c", shell).strip()

    @contextmanager
    def listened(self, log: Path) -> Iterator[None]:
        """Write the sources of all packets that arrive at its containers into a file."""
        with log.open("w") as file:
            sniffers = [
                subprocess.Popen(
                    ["nsenter", "--net", f"--target={each['State']['Pid']}", sys.executable, "-c", SNIFF],
                    stdout=file,
                )
                for each in self.containers.values()
            ]
            try:
                until(lambda: log.read_text().count("ready") == len(sniffers), "all listen")
                yield
            finally:
                for sniffer in sniffers:
                    sniffer.kill()
                    sniffer.wait()


def test_no_packet_and_no_row_gets_from_one_to_the_other(guarded: Guarded, tmp_path: Path) -> None:
    """With the root helper: Docker removes its isolation for a moment whenever a network is created."""
    database = {"database": service_image("postgres")}
    images = {"shop": {"services": {**database, **SERVICES}, "memory": "512m"}}
    stager, _ = guarded(images=images, helper="required")
    stager.start()
    stager.launched("a")
    stager.launched("b")
    a, b = Preview(stager, "a"), Preview(stager, "b")
    assert a.containers.keys() == b.containers.keys() == {"web", "database", "store", "api"}

    for preview, value in ((a, "ours"), (b, "theirs")):
        preview.sql("CREATE TABLE rows AS SELECT 'x' AS of WHERE false")
        preview.sql(f"INSERT INTO rows VALUES ('{value}')")
    assert (a.sql("TABLE rows"), b.sql("TABLE rows")) == ("ours", "theirs")
    mounted = [{m["Name"] for each in p.containers.values() for m in each["Mounts"]} for p in (a, b)]
    assert mounted[0].isdisjoint(mounted[1])
    assert len(stager.volumes()) == 2

    theirs = [f"{address}:{port}" for address in b.addresses for port in (5432, 3000)]
    own = ["database:5432", "store:3000", "api:3000"]
    log = tmp_path / "sources"
    with b.listened(log):
        for service in ("web", "store", "api"):
            assert a.connects(service, *own, *theirs) == own, f"from {service}"
        assert b.connects("web", *own) == own, "the sniffers notice what is allowed"
    sources = Counter(log.read_text().split())
    assert sum(sources[address] for address in b.addresses) > 0
    assert [address for address in a.addresses if sources[address]] == []
