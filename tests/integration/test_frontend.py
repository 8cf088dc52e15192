"""What a stranger's own frontend for BuildKit could do (`# syntax=` in a Dockerfile, see frontend.py): it is
tried in the builder that trusted code has, where it works, and in the one for forks, where it doesn't."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h2
import hpack
import hyperframe
import pytest

from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from tests.contracts.builders import remove_images, why_no_buildx
from tests.contracts.engines import why_no_docker
from tests.integration.own_builder import OwnBuilder, own_builder
from tests.integration.stager import docker, until
from tests.integration.test_untrusted_builds import BASE, Rig, Server, certificate, file_of, unique

IMAGE = """\
FROM stager-base/python:1
COPY . /frontend
LABEL moby.buildkit.frontend.network.none=true
ENTRYPOINT ["python3", "/frontend/frontend.py"]
"""
REGISTRY = """\
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: STORE}, maintenance: {readonly: {enabled: READONLY}}}
http: {addr: "127.0.0.1:PORT", tls: TLS}
"""


class Frontend:
    """The image, which a registry on 127.0.0.1 serves: one for the machine, one in the builder's network."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self._port = folder, port
        self._name = f"127.0.0.1:{port}/frontend:1"
        self._running: list[subprocess.Popen[bytes]] = []
        self._pem = folder / "registry.pem"
        self._pem.write_bytes(certificate())

    def publish(self) -> None:
        """Make it and have the machine's own registry serve it."""
        content = self.folder / "image"
        content.mkdir()
        for package in (h2, hpack, hyperframe):
            home = Path(str(package.__file__)).parent
            shutil.copytree(home, content / home.name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(Path(__file__).with_name("frontend.py"), content)
        (content / "Dockerfile").write_text(IMAGE)
        docker("build", "--quiet", "--label", "stager.test", "--tag", self._name, str(content))
        try:
            self.serve(subprocess.Popen)
            docker("push", "--quiet", self._name)
        finally:
            docker("rmi", self._name)

    def serve(self, start: Callable[[list[str]], subprocess.Popen[bytes]], *, tls: bool = False) -> None:
        """Docker 20.10 asks the loopback interface without TLS, newer ones with."""
        pem = {"certificate": str(self._pem), "key": str(self._pem)}
        text = REGISTRY.replace("STORE", str(self.folder / "store")).replace("PORT", str(self._port))
        text = text.replace("READONLY", json.dumps(tls)).replace("TLS", json.dumps(pem if tls else {}))
        settings = self.folder / f"registry-{len(self._running)}.yml"
        settings.write_text(text)
        registry = start(["docker-registry", "serve", str(settings)])
        self._running.append(registry)
        connect = f"import socket; socket.create_connection(('127.0.0.1', {self._port}))"

        def listens() -> bool:
            assert registry.poll() is None, "docker-registry ended; it says why above"
            probe = start([sys.executable, "-c", connect])
            return probe.wait() == 0

        until(listens, "the registry listens")

    def line(self, **wanted: str) -> str:
        """A Dockerfile that has it do something."""
        options = {"base": BASE, "unique": secrets.token_hex(8), **wanted}
        return f"# syntax={self._name} {json.dumps(options)}\nFROM scratch\n"

    def close(self) -> None:
        for process in self._running:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def builder() -> Iterator[OwnBuilder]:
    if reason := why_no_docker() or why_no_buildx():
        pytest.skip(reason)
    if not shutil.which("docker-registry"):
        pytest.skip("no docker-registry here, which would serve the frontend")
    with own_builder() as found:
        yield found


@pytest.fixture(scope="module")
def frontend(builder: OwnBuilder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    folder = tmp_path_factory.mktemp("frontend")
    made = Frontend(folder, free_port())
    try:
        made.publish()
        rig = Rig(folder, builder, f"test-{secrets.token_hex(4)}")
        rig.build(unique())  # so that the builder and its network are there
        remove_images(rig.installation)
        made.serve(lambda command: builder.nsenter(*command), tls=True)
        yield made
    finally:
        made.close()


@pytest.fixture
def rig(builder: OwnBuilder, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, builder, f"test-{secrets.token_hex(4)}")
    yield made
    remove_images(made.installation)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.attack(
    "The cache mounts of trusted builds, by its own frontend (`# syntax=`)",
    profile="build of a fork",
    result="they are empty, and trusted builds don't see what it writes",
)
@pytest.mark.parametrize("namespace", ["", "team"])
@pytest.mark.parametrize("own", [False, True])
def test_cache_mounts_by_a_frontend(rig: Rig, frontend: Frontend, own: bool, namespace: str) -> None:
    name = secrets.token_hex(8)
    trusted = Recipe(arguments={"BUILDKIT_CACHE_MOUNT_NS": namespace} if namespace else {})
    mount = f"RUN --mount=type=cache,id={name},target=/kept"
    rig.build(unique(f"{mount} echo trusted > /kept/file\n"), stranger=False, recipe=trusted)
    theirs = rig.build(frontend.line(cache=f"{namespace}/{name}"), own=own)
    assert file_of(theirs, "/found").split() == ([] if own else ["file", "trusted"])
    again = rig.build(frontend.line(cache=f"{namespace}/{name}"), own=own)
    assert "strange" in file_of(again, "/found").split(), "it keeps what is its own"
    ours = rig.build(unique(f"{mount} ls /kept > /found\n"), stranger=False, recipe=trusted)
    assert file_of(ours, "/found").split() == (["file"] if own else ["file", "stranger"])


@pytest.mark.attack(
    "A container in the machine's network, by its own frontend (`# syntax=`)",
    profile="build of a fork",
    result="refused; Docker 20.10 would start one",
)
def test_the_host_s_network_by_a_frontend(rig: Rig, frontend: Frontend, tmp_path: Path) -> None:
    service = Server(tmp_path, lambda *command: subprocess.Popen(command), free_port())
    fetch = f"wget -q -O - http://{service.url}/metrics 2>&1"
    try:
        if is_old():
            found = file_of(rig.build(frontend.line(command=fetch), own=False), "/found")
            assert "of the host" in found, "the shared builder, an old one, gives it one"
        before = len(service.requests)
        found = file_of(rig.build(frontend.line(command=fetch)), "/found")
        assert "network.host is not allowed" in found
        assert len(service.requests) == before
    finally:
        service.close()


def test_a_step_in_the_host_s_network_by_a_frontend(rig: Rig, frontend: Frontend) -> None:
    assert "network.host" in rig.fails(frontend.line(step="host"))


@pytest.mark.parametrize("own", [False, True])
def test_a_privileged_container_by_a_frontend(rig: Rig, frontend: Frontend, own: bool) -> None:
    """CVE-2024-23653, which Debian's 20.10 doesn't have, either. CAP_SYS_ADMIN is the bit 21."""
    line = frontend.line(command="grep CapEff /proc/self/status", privileged="yes")
    found = file_of(rig.build(line, own=own), "/found")
    refused = "security.insecure is not allowed" in found
    assert refused or not int(found.split("CapEff:")[1].split()[0], 16) >> 21 & 1


def test_an_image_without_labels_by_a_frontend(rig: Rig, frontend: Frontend) -> None:
    with pytest.raises(Fault) as refused:
        rig.build(frontend.line(unlabelled="yes"))
    assert refused.value.reason == "image-refused"


def is_old() -> bool:
    """Whether the machine's engine is one from before these checks."""
    return int(docker("version", "--format", "{{.Server.Version}}").split(".")[0]) < 25
