"""What a stranger's build could do to this machine and to other builds: each is tried in the builder that
trusted code has, where it works, and in the builder of its own, where it doesn't."""

from __future__ import annotations

import asyncio
import base64
import json
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stager.domain.errors import Fault, StagerError
from stager.domain.recipe import Recipe
from stager.engines.docker import BuildxBuilder, connect
from stager.engines.docker.build.by_trust import BuilderByTrust
from stager.engines.docker.build.untrusted import Lending, UntrustedBuilder
from stager.helper_client import HelperClient
from stager.ports.builder import BuildOrder
from tests.contracts.builders import ENGINE, remove_images, why_no_buildx
from tests.contracts.engines import why_no_docker
from tests.integration.own_builder import OwnBuilder, own_builder
from tests.integration.stager import docker, until

BASE = "stager-base/static:1"
STAND_IN = Path(__file__).with_name("stand_in.py")
PASSWORD = "S3cret-of-the-registry-5e1"


@pytest.fixture(scope="module")
def builder() -> Iterator[OwnBuilder]:
    if reason := why_no_docker() or why_no_buildx():
        pytest.skip(reason)
    with own_builder() as found:
        yield found


@dataclass
class Rig:
    """An installation that builds in both ways."""

    folder: Path
    builder: OwnBuilder
    installation: str
    number: int = 0
    cgroup: str = ""

    def build(
        self, dockerfile: str, *, own: bool = True, stranger: bool = True, recipe: Recipe | None = None,
        lent: tuple[str, ...] = (BASE,), **files: str,
    ) -> str:  # fmt: skip
        """Build it, in the builder of its own or in the shared one; the image. Raises what `Builder` does."""
        return asyncio.run(self._build(dockerfile, own, stranger, recipe or Recipe(), lent, files))

    async def _build(
        self, dockerfile: str, own: bool, stranger: bool, recipe: Recipe, lent: tuple[str, ...],
        files: dict[str, str],
    ) -> str:  # fmt: skip
        self.number += 1
        tree = self.folder / f"tree{self.number}"
        tree.mkdir()
        for name, content in {"Dockerfile": dockerfile, **files}.items():
            (tree / name).write_text(content)
        engine = connect(ENGINE)
        try:
            trusted = BuildxBuilder(engine, ENGINE, self.installation)
            helper, lending = HelperClient(self.builder.socket), Lending(images=lent)
            untrusted = UntrustedBuilder(helper, engine, trusted, lending, cgroup_parent=self.cgroup)
            key = f"{secrets.token_hex(16)}"
            order = BuildOrder(key, "shop", "0" * 40, tree, recipe, 120, untrusted=stranger)
            self.said: list[str] = []
            return await BuilderByTrust(trusted, untrusted if own else None).build(order, self.said.append)
        finally:
            await engine.close()
            await asyncio.sleep(0.05)  # aiohttp closes its connections in the loop's next rounds

    def fails(self, dockerfile: str, **more: object) -> str:
        """Build it in the builder of its own, which doesn't work; all of its output."""
        with pytest.raises(StagerError) as failed:
            self.build(dockerfile, **more)  # type: ignore[arg-type]
        return f"{failed.value} {failed.value.detail}"


@pytest.fixture
def rig(builder: OwnBuilder, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, builder, f"test-{secrets.token_hex(4)}")
    yield made
    remove_images(made.installation)


def unique(text: str = "") -> str:
    """The beginning of a Dockerfile that no build before knows."""
    return f"FROM {BASE}\nENV UNIQUE={secrets.token_hex(8)}\n{text}"


def file_of(image: str, path: str) -> str:
    return docker("run", "--rm", "--network", "none", "--label", "stager.test", image, "cat", path)


class Server:
    """The stand-in for a service or a registry; `requests` are what it was asked."""

    def __init__(
        self, folder: Path, start: Callable[..., subprocess.Popen[bytes]], port: int, *, tls: bool = False
    ) -> None:
        self.url, self._notes = f"127.0.0.1:{port}", folder / f"requests-{secrets.token_hex(4)}"
        if tls:
            self._notes.with_suffix(".pem").write_bytes(certificate())
        self._process = start(sys.executable, str(STAND_IN), str(port), str(self._notes))
        until(self._notes.exists, "it listens")

    @property
    def requests(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self._notes.read_text().splitlines()]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def certificate() -> bytes:
    """A self-signed one with its key, which Docker accepts on the loopback interface."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, form, encryption) + made.public_bytes(pem)


@pytest.fixture
def on_the_host(tmp_path: Path, free_port: int) -> Iterator[Server]:
    server = Server(tmp_path, lambda *command: subprocess.Popen(command), free_port)
    yield server
    server.close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_builds_and_leaves_nothing_there(rig: Rig) -> None:
    image = rig.build(unique("COPY page /site/page\nRUN cat /proc/self/uid_map > /site/ids\n"), page="hello")
    assert file_of(image, "/site/page") == "hello"
    first = file_of(image, "/site/ids").split()[1]
    assert int(first) >= 0x70000000, "root in a step is no user of this machine"
    [tag] = json.loads(docker("image", "inspect", image))[0]["RepoTags"]
    assert tag.startswith(f"stager/{rig.installation}-shop:")
    there = docker(
        "--host", f"unix://{rig.builder.folder}/builder.sock", "images", "--format", "{{.Repository}}"
    )
    assert there.split() == ["stager-base/static"]


def test_its_socket_is_stager_s_alone(rig: Rig, tmp_path: Path) -> None:
    with own_builder(user="nobody") as helper:
        Rig(tmp_path, helper, rig.installation).build(unique())
        facts = (helper.folder / "builder.sock").stat()
        assert (facts.st_uid, facts.st_mode & 0o777) == (pwd.getpwnam("nobody").pw_uid, 0o600)


@pytest.mark.attack(
    "ADD of a service that listens on this machine",
    profile="build of a fork",
    result="refused; the machine's Docker would fetch it",
)
def test_a_service_of_the_host(rig: Rig, on_the_host: Server) -> None:
    line = f"ADD http://{on_the_host.url}/metrics /site/metrics\n"
    image = rig.build(unique(line), own=False)
    assert "of the host" in file_of(image, "/site/metrics"), "the shared builder fetches it from the host"
    before = len(on_the_host.requests)
    assert "refused" in rig.fails(unique(line))
    assert len(on_the_host.requests) == before


def test_a_service_of_the_host_by_the_link_s_address(rig: Rig, builder: OwnBuilder, tmp_path: Path) -> None:
    rig.build(unique())  # so that the link is there
    port = 28_471
    notes = tmp_path / "notes"
    server = subprocess.Popen([sys.executable, str(STAND_IN), str(port), str(notes), builder.outside])
    try:
        until(notes.exists, "it listens")
        assert "refused" in rig.fails(unique(f"ADD http://{builder.outside}:{port}/x /site/x\n"))
        assert notes.read_text() == ""
    finally:
        server.terminate()
        server.wait()


@pytest.mark.attack(
    "FROM and COPY --from of a private image of this machine",
    profile="build of a fork",
    result="not found, unless forks.base_images lists it",
)
def test_the_images_of_the_host(rig: Rig) -> None:
    private = f"stager-test/private-{secrets.token_hex(4)}:1"
    docker("tag", BASE, private)
    try:
        for dockerfile in (f"FROM {private}\n", unique(f"COPY --from={private} /bin/busybox /stolen\n")):
            rig.build(dockerfile, own=False)
            assert "stager-test/private" in rig.fails(dockerfile)
        rig.build(f"FROM {private}\n", lent=(BASE, "stager-test/private-*:1"))
        assert "stager-test/private" in rig.fails(f"FROM {private}\n"), (
            "what isn't lent any more is taken back"
        )
    finally:
        docker("rmi", private)


@pytest.mark.attack(
    "A layer in the cache that a trusted build would reuse",
    profile="build of a fork",
    result="the trusted build creates its own",
)
@pytest.mark.parametrize("own", [False, True])
def test_layers_that_a_stranger_built_first(rig: Rig, own: bool) -> None:
    """Whether there is an optional secret doesn't count for BuildKit's cache; so the stranger's layer, made
    without, would be the trusted build's as well."""
    step = (
        "RUN --mount=type=secret,id=npm test -s /run/secrets/npm && echo mine > /who || echo strange > /who\n"
    )
    dockerfile = unique(step)
    rig.build(dockerfile, own=own)
    ours = rig.build(dockerfile, own=own, stranger=False, recipe=Recipe(secrets={"npm": "a-secret"}))
    assert file_of(ours, "/who") == ("mine" if own else "strange")


@pytest.mark.attack(
    "A cached layer, built with another proxy, for a trusted build to reuse",
    profile="build of a fork",
    result="the trusted build creates its own",
)
@pytest.mark.parametrize("own", [False, True])
def test_proxies_that_a_stranger_built_with(rig: Rig, own: bool) -> None:
    """Nor do proxy arguments count."""
    dockerfile = unique('RUN echo "by ${http_proxy:-nobody}" > /who\n')
    rig.build(dockerfile, own=own, recipe=Recipe(arguments={"http_proxy": "http://127.0.0.1:9/evil"}))
    ours = rig.build(dockerfile, own=own, stranger=False)
    assert file_of(ours, "/who") == ("by nobody" if own else "by http://127.0.0.1:9/evil")


@pytest.mark.attack(
    "The cache mount of a trusted build, by its id",
    profile="build of a fork",
    result="it is empty",
)
def test_cache_mounts(rig: Rig) -> None:
    """What a trusted build keeps, by the id that a frontend of the stranger's could name."""
    name = secrets.token_hex(8)
    mount = f"RUN --mount=type=cache,id={name},target=/kept"
    rig.build(unique(f"{mount} echo trusted > /kept/file\n"), stranger=False)
    look = unique(f"{mount} ls /kept > /found\n")
    seen = rig.build(look, own=False, stranger=False)
    assert file_of(seen, "/found") == "file", "one builder has one cache"
    assert file_of(rig.build(look), "/found") == ""


@pytest.fixture
def docker_configuration(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's, with credentials and a proxy that has a password in it."""
    folder = tmp_path / "docker-config"
    folder.mkdir()
    auth = base64.b64encode(f"operator:{PASSWORD}".encode()).decode()
    proxies = {"default": {"ftpProxy": f"http://proxy:{PASSWORD}@127.0.0.1:9"}}
    content = {"auths": {f"127.0.0.1:{free_port}": {"auth": auth}}, "proxies": proxies}
    (folder / "config.json").write_text(json.dumps(content))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


@pytest.mark.attack(
    "The machine's credentials for a registry, by FROM of a registry on 127.0.0.1",
    profile="build of a fork",
    result="none are sent",
)
@pytest.mark.usefixtures("docker_configuration")
def test_credentials_for_registries(rig: Rig, builder: OwnBuilder, free_port: int, tmp_path: Path) -> None:
    dockerfile = f"FROM 127.0.0.1:{free_port}/private/{secrets.token_hex(4)}:1\n"
    registry = Server(tmp_path, lambda *command: subprocess.Popen(command), free_port)
    try:
        with pytest.raises(Fault):
            rig.build(dockerfile, own=False)
        assert any(PASSWORD in _decoded(request) for request in registry.requests), (
            "the shared one sends them"
        )
    finally:
        registry.close()
    rig.build(unique())  # so that the builder runs
    # Docker 20.10 asks the loopback interface without TLS, newer ones with.
    registry = Server(tmp_path, builder.nsenter, free_port, tls=True)
    try:
        rig.fails(dockerfile)
        assert registry.requests, "it was asked"
        assert not any(request["authorization"] for request in registry.requests)
    finally:
        registry.close()


def _decoded(request: dict[str, str]) -> str:
    _, _, credentials = request["authorization"].partition(" ")
    return base64.b64decode(credentials).decode() if credentials else ""


@pytest.mark.attack(
    "The password in the machine's proxy settings",
    profile="build of a fork",
    result="the build has no proxy",
)
@pytest.mark.usefixtures("docker_configuration")
def test_proxies_with_passwords(rig: Rig) -> None:
    dockerfile = unique("RUN env > /variables\n")
    assert PASSWORD in file_of(rig.build(dockerfile, own=False), "/variables")
    assert PASSWORD not in file_of(rig.build(unique("RUN env > /variables\n")), "/variables")


def test_the_variables_of_the_server(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://proxy:{PASSWORD}@127.0.0.1:9")
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {}}))
    image = rig.build(unique("RUN env > /variables\n"))
    assert PASSWORD not in file_of(image, "/variables")


@pytest.mark.attack(
    "A build secret, by a mount of its id",
    profile="build of a fork",
    result="the step gets no such file",
)
def test_secrets_go_nowhere(rig: Rig) -> None:
    dockerfile = unique("RUN --mount=type=secret,id=npm cat /run/secrets/npm > /secret || true\n")
    image = rig.build(dockerfile, recipe=Recipe(secrets={"npm": PASSWORD}))
    assert file_of(image, "/secret") == ""


@pytest.mark.attack(
    "Removal of a file of the machine by a symbolic link instead of a mount's folder (CVE-2024-23652)",
    profile="build of a fork",
    result="the file isn't removed; Docker 20.10 would remove it",
)
def test_an_empty_file_of_the_host(rig: Rig) -> None:
    """A link in the place of a mount's folder made old engines remove what it led to (CVE-2024-23652)."""
    victim = rig.folder / "victim"
    victim.touch()
    step = "RUN --mount=type=bind,source=page,target=/d/victim mv /d /e && ln -s HERE /d\n".replace(
        "HERE", str(victim.parent)
    )
    if int(docker("version", "--format", "{{.Server.Version}}").split(".")[0]) < 25:
        rig.build(unique(step), own=False, page="x")
        assert not victim.exists(), "the shared builder, an old one, removes it"
        victim.touch()
    rig.build(unique(step), page="x")
    assert victim.exists()


@pytest.mark.attack(
    "RUN --network=host",
    profile="build of a fork",
    result="refused",
)
def test_the_host_s_network(rig: Rig) -> None:
    step = "RUN --network=host cat /proc/net/dev > /devices\n"
    assert "network.host" in rig.fails(unique(step))


@pytest.mark.attack(
    "A file that fills the disk",
    profile="build of a fork",
    result="the builder's own disk is full; the machine's is not",
)
def test_a_build_can_t_fill_the_disk(rig: Rig, tmp_path: Path) -> None:
    with own_builder("1G") as small:
        crowded = Rig(tmp_path / "small", small, rig.installation)
        crowded.folder.mkdir()
        free = shutil.disk_usage(small.folder).free
        said = crowded.fails(unique("RUN dd if=/dev/zero of=/big bs=1M count=3000\n"))
        assert "No space left" in said
        assert free - shutil.disk_usage(small.folder).free < 2 << 30
        assert file_of(crowded.build(unique("RUN echo well > /x\n")), "/x") == "well"


@pytest.fixture
def cgroup() -> Iterator[str]:
    """One whose processes have 64 MB at most."""
    name = f"stager-test-{secrets.token_hex(4)}"
    root = Path("/sys/fs/cgroup")
    is_v1 = (root / "memory").is_dir()
    group, file = (root / "memory" / name, "limit_in_bytes") if is_v1 else (root / name, "max")
    try:
        group.mkdir()
        (group / f"memory.{file}").write_text(str(64 << 20))
    except OSError as error:
        pytest.skip(f"no control group with a limit of memory can be made here: {error}")
    yield f"/{name}"
    found = [*root.glob(f"*/{name}/*/"), *root.glob(f"{name}/*/"), *root.glob(f"*/{name}/"), root / name]
    for folder in found:
        with suppress(OSError):
            folder.rmdir()


def test_a_build_can_t_take_the_memory(rig: Rig, cgroup: str) -> None:
    """`builds.cgroup_parent` holds in it, whatever the machine's own Docker does."""
    greedy = unique("RUN dd if=/dev/zero of=/dev/null bs=200M count=1; echo $? > /ended\n")
    assert file_of(rig.build(greedy), "/ended") == "0"
    rig.cgroup = cgroup
    greedy = unique("RUN dd if=/dev/zero of=/dev/null bs=200M count=1; echo $? > /ended\n")
    assert file_of(rig.build(greedy), "/ended") == "137"


def test_what_is_killed_leaves_nothing(rig: Rig, builder: OwnBuilder) -> None:
    rig.build(unique())
    subprocess.run(["kill", "-9", str(builder.engine)], check=True)
    assert file_of(rig.build(unique("RUN echo again > /x\n")), "/x") == "again"
    builder.kill9()
    assert builder.runs(), "the engine outlives its helper"
    builder.start()
    until(lambda: not builder.left_over(), f"nothing is left: {builder.left_over()}")
    assert file_of(rig.build(unique("RUN echo again > /x\n")), "/x") == "again"
    builder.stop()
    until(lambda: not builder.left_over(), f"nothing is left: {builder.left_over()}")
    builder.start()


def test_it_isn_t_started_without_the_firewall(rig: Rig, tmp_path: Path) -> None:
    """Rules that another program removed are restored first; if they can't be, there is no builder."""
    with own_builder() as guarded:
        chain = f"STAGER-{guarded.tag.upper()}-OUT"
        guarded.stop()
        guarded.start("--check-every", "600")
        subprocess.run(["iptables", "-w", "-D", "DOCKER-USER", "-j", chain], check=True)
        Rig(tmp_path, guarded, rig.installation).build(unique())
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
        assert f"-A DOCKER-USER -j {chain}" in rules
