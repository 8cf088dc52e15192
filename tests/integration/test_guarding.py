"""Previews on real Docker, guarded by a root helper of the test's own, which touches no bridge but theirs."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stager.domain.profile import ProfileName
from stager.engines.docker.network.pool import bridge_of, tag_of
from tests.integration.conftest import Guarded, MakeStager
from tests.integration.images import application_image, base_image
from tests.integration.namespaces import CONNECT, Helper, Namespace, needs_namespaces
from tests.integration.stager import StagerUnderTest, docker, until

pytestmark = [pytest.mark.docker, needs_namespaces]


@pytest.fixture
def service() -> Iterator[int]:
    """The port of a service of this machine, on all its addresses."""
    with socket.create_server(("0.0.0.0", 0)) as listening:
        yield listening.getsockname()[1]


def reaches(stager: StagerUnderTest, name: str, address: str, port: int) -> bool:
    """Whether the preview's instance gets a connection."""
    environment = stager.environment(name)["id"]
    [container] = stager.containers(f"label=stager.environment={environment}")
    command = ["docker", "exec", container, "python3", "-c", CONNECT, address, str(port)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def network_of(stager: StagerUnderTest, name: str) -> tuple[str, str, str]:
    """The gateway and the instance's address of a preview, and its network's name."""
    environment = stager.environment(name)["id"]
    [container] = stager.containers(f"label=stager.environment={environment}")
    [(network, facts)] = stager.inspect(container)["NetworkSettings"]["Networks"].items()
    return facts["Gateway"], facts["IPAddress"], network


def own_address() -> str:
    """An address of this machine that isn't Docker's."""
    listed = json.loads(subprocess.run(["ip", "-j", "-4", "address"], capture_output=True, check=True).stdout)
    links = {link["ifname"]: link["addr_info"] for link in listed if link["addr_info"]}
    own = (
        info[0]["local"] for name, info in links.items() if not name.startswith(("lo", "docker", "pv", "br-"))
    )
    return str(next(own))


def test_without_the_helper_this_machine_is_open(make_stager: MakeStager, service: int) -> None:
    """What the others show would mean nothing if it weren't."""
    stager = make_stager()
    stager.launched("a")
    gateway, *_ = network_of(stager, "a")
    addresses = (gateway, "172.17.0.1", own_address())
    assert [reaches(stager, "a", address, service) for address in addresses] == [True] * 3
    warned = [line for line in stager.log.read_text().splitlines() if '"helper_off"' in line]
    assert len(warned) == 1
    assert "helper: off" in warned[0]


@pytest.mark.attack(
    "A service of the machine, by any of its addresses (gateway, Docker's bridge); another preview's port",
    profile="preview",
    result="rejected by the root helper's firewall; the front's public ports stay reachable",
)
def test_this_machine_is_closed_but_for_the_front(guarded: Guarded, service: int) -> None:
    stager, _ = guarded(listen="0.0.0.0:0")
    stager.configure(listen="0.0.0.0:0")
    stager.start()
    stager.launched("a")
    stager.launched("b")
    gateway, address, network = network_of(stager, "a")
    bridge = bridge_of(stager.installation, network, ProfileName.STANDARD)
    assert Path("/sys/class/net", bridge).exists()
    addresses = (gateway, "172.17.0.1", own_address())
    assert [reaches(stager, "a", each, service) for each in addresses] == [False] * 3
    assert [reaches(stager, "a", each, stager.port) for each in addresses] == [True] * 3, (
        "visitors come in there"
    )
    assert not reaches(stager, "a", network_of(stager, "b")[1], 3000), "another preview"
    assert stager.get("a").status_code == 200
    beside = ["docker", "run", "--rm", f"--network={network}", "--entrypoint=python3", application_image()]
    done = subprocess.run([*beside, "-c", CONNECT, address, "3000"], capture_output=True, check=False)
    assert done.returncode == 0, "instances of one preview reach each other"


def test_what_was_blocked_is_shown_and_the_setting_opens_it(guarded: Guarded, service: int) -> None:
    stager, _ = guarded()
    stager.start()
    stager.launched("a")
    assert stager.environment("a")["blocked"] == []
    assert not reaches(stager, "a", "172.17.0.1", service)
    [blocked] = until(lambda: stager.environment("a")["blocked"], "the API shows it")
    opens = f"172.17.0.1:{service}"
    assert (blocked["protocol"], blocked["count"], blocked["egress_allow"]) == ("tcp", 1, opens)
    page = stager._client.get(
        f"{stager.url}/previews/{stager.environment('a')['id']}", auth=("testuser", "test:password"),
        headers={"Host": f"localhost:{stager.port}"},
    ).text  # fmt: skip
    assert f"&#34;{opens}&#34;" in page or f'"{opens}"' in page
    doctor = subprocess.run(
        [Path(sys.executable).with_name("stager"), "doctor", "--config", stager.config],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    assert f'egress_allow: ["{opens}"]' in doctor
    stager.configure(images={"shop": {"egress_allow": [opens]}})
    stager.restart()
    until(lambda: reaches(stager, "a", "172.17.0.1", service), "the running preview reaches it")
    assert not reaches(stager, "a", network_of(stager, "a")[0], service), "and nothing else"
    stager.configure()
    stager.restart()
    until(lambda: not reaches(stager, "a", "172.17.0.1", service), "it is closed again")


@pytest.mark.attack(
    "A published port of another container",
    profile="preview",
    result="rejected, unless egress_allow lists it",
)
def test_another_containers_published_port(guarded: Guarded) -> None:
    stager, _ = guarded()
    stager.start()
    run = ["run", "--detach", "--rm", "--publish=0.0.0.0::8080", base_image("static")]
    other = docker(*run, "httpd", "-f", "-p", "8080")
    try:
        port = int(docker("port", other, "8080/tcp").splitlines()[0].rpartition(":")[2])
        stager.launched("a")
        assert not reaches(stager, "a", "172.17.0.1", port)
        stager.configure(images={"shop": {"egress_allow": [f"172.17.0.1:{port}"]}})
        stager.restart()
        until(lambda: reaches(stager, "a", "172.17.0.1", port), "it is opened, past Docker's isolation")
    finally:
        docker("rm", "--force", other)


@pytest.mark.attack(
    "A start while the root helper doesn't run",
    profile="preview",
    result="no instance starts; the rules of running instances stay",
)
def test_nothing_starts_while_the_helper_doesnt_run(guarded: Guarded, service: int) -> None:
    stager, helper = guarded()
    stager.start()
    stager.launched("a")
    helper.kill9()
    answer = stager.launch("b", wait="3")
    assert answer.status_code != 200
    assert stager.get("a").status_code == 200, "what runs goes on serving"
    assert not reaches(stager, "a", "172.17.0.1", service), "behind the same rules"
    until(lambda: "its firewall rules" in stager.get("b").text, "the page says why")
    environment = stager.environment("b")["id"]
    assert stager.containers(f"label=stager.environment={environment}", "status=running") == []
    [a] = stager.containers(f"label=stager.environment={stager.environment('a')['id']}")
    docker("kill", a)
    time.sleep(2)
    assert stager.inspect(a)["State"]["Status"] != "running", "nor is it started again"
    helper.start()
    for name in ("a", "b"):
        stager.wait_for(name, "live")
        assert not reaches(stager, name, "172.17.0.1", service)


def test_it_doesnt_start_without_the_helper_once_it_had_it(guarded: Guarded) -> None:
    stager, helper = guarded()
    stager.start()
    stager.kill9()
    helper.stop()

    def served(**configuration: Any) -> subprocess.CompletedProcess[str]:
        stager.configure(**configuration)
        command = [str(Path(sys.executable).with_name("stager")), "serve", "--config", str(stager.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    for mode in ("auto", "required"):
        refused = served(helper=mode)
        assert refused.returncode != 0
        assert "There is no root helper at" in refused.stdout + refused.stderr
    stager.configure(helper="off")
    stager.start()
    stager.kill9()
    stager.configure(helper="auto")
    stager.start()
    stager.kill9()
    assert served(helper="required").returncode != 0


def test_a_helper_that_is_seconds_late_is_waited_for(guarded: Guarded) -> None:
    stager, helper = guarded(helper="required")
    helper.stop()
    starting = subprocess.Popen(["sh", "-c", f"sleep 1; exec {' '.join(helper._command)}"])
    try:
        stager.start()
        stager.launched("a")
    finally:
        starting.terminate()
        starting.wait(20)


def test_a_launch_costs_little_more(guarded: Guarded, make_stager: MakeStager) -> None:
    """The measure is printed; the bound only keeps out what is an order of magnitude off."""
    plain, (stager, helper) = make_stager(), guarded()
    stager.start()

    def seconds(one: StagerUnderTest, name: str) -> float:
        began = time.monotonic()
        one.launched(name)
        return time.monotonic() - began

    pairs = [(seconds(plain, f"n{n}"), seconds(stager, f"n{n}")) for n in range(4)]
    asked = {"tag": tag_of(stager.installation), "ports": [80], "groups": [], "builder_allow": []}
    helper.ask("firewall-apply", **asked)
    began = time.monotonic()
    for _ in range(20):
        helper.ask("firewall-apply", **asked)
    check = (time.monotonic() - began) / 20
    without, with_ = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"a launch without {without:.3f} s, with {with_:.3f} s; one check {check * 1000:.1f} ms")
    assert check < 0.25


@pytest.mark.skipif(not shutil.which("dockerd"), reason="needs dockerd")
def test_a_restart_of_docker_leaves_nothing_open(tmp_path: Path) -> None:
    """An engine with its own iptables, in a namespace of the test's own."""
    host = Namespace()
    with contextlib.ExitStack() as stack:
        stack.callback(host.close)
        work = Path(stack.enter_context(_short_folder()))
        host.run("ip link add eth0 type veth peer name wire; ip link set wire up; ip link set eth0 up")
        host.run("ip address add 198.51.100.1/24 dev eth0")
        host.run("ip address add 2001:db8::1/64 dev eth0 nodad; ip route add default dev eth0")
        host.serve("0.0.0.0:80", ":::8080")
        (work / "daemon.json").write_text(json.dumps({"ip6tables": True, "experimental": True}))
        engine = stack.enter_context(_engine(host, work))
        load = [*engine.docker, "load", "-q"]
        with subprocess.Popen(["docker", "save", application_image()], stdout=subprocess.PIPE) as saved:
            subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)
        bridge = "pvtab1200000001"
        engine.run(
            "network", "create", "--ipv6", "--subnet=10.200.0.0/28", "--subnet=fd20::/64",
            f"--opt=com.docker.network.bridge.name={bridge}", "one",
        )  # fmt: skip
        options = ("--check-every=0.2", "--chains=STAGER-D")
        (tmp_path / "helper").mkdir()
        helper = Helper(tmp_path / "helper", host.enter, *options)
        helper.start()
        stack.callback(helper.stop)
        run = [
            "run",
            "-d",
            "--restart=always",
            "--network=one",
            "--entrypoint=sleep",
            application_image(),
            "600",
        ]
        container = engine.run(*run)
        there = (("10.200.0.1", 80), ("198.51.100.1", 80), ("2001:db8::1", 8080), ("fd20::1", 8080))

        def open_ones() -> list[str]:
            return [each for each, port in there if engine.reaches(container, each, port)]

        assert open_ones() == []
        engine.restart()
        until(lambda: engine.run("inspect", "-f", "{{.State.Running}}", container) == "true", "it is back")
        until(lambda: open_ones() == [], "it is closed", 5)
        for command in ("iptables", "ip6tables"):
            rules = host.run(f"{command} -S FORWARD; {command} -S DOCKER-USER || true; {command} -S INPUT")
            first = [line for line in rules.splitlines() if line.startswith("-A ")]
            assert first[0] in ("-A FORWARD -j DOCKER-USER", "-A FORWARD -j STAGER-D-OUT"), rules
            assert "-A INPUT -j STAGER-D-IN" in first
        host.run("iptables -F DOCKER-USER; iptables -F INPUT; ip6tables -F INPUT")
        until(lambda: open_ones() == [], "it is closed again", 5)
        helper.stop()
        host.run("iptables -F INPUT; ip6tables -F INPUT")
        assert open_ones() == [each for each, _ in there], "so that it was the helper's doing"


@contextlib.contextmanager
def _short_folder() -> Iterator[str]:
    """A path to a socket has at most 107 bytes."""
    folder = f"/tmp/sth{secrets.token_hex(3)}"
    Path(folder).mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Engine:
    def __init__(self, host: Namespace, folder: Path) -> None:
        self.docker = ["docker", "--host", f"unix://{folder}/docker.sock"]
        self._command = [
            *host.enter, "setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private",
            "dockerd", f"--config-file={folder}/daemon.json", f"--data-root={folder}/data",
            f"--exec-root={folder}/run", f"--pidfile={folder}/pid", f"--host=unix://{folder}/docker.sock",
            "--fixed-cidr-v6=fd99::/64",
        ]  # fmt: skip
        self._folder = folder
        self.start()

    def start(self) -> None:
        (self._folder / "run" / "containerd" / "containerd.pid").unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        until(self._answers, "the engine answers")

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        return subprocess.run([*self.docker, "version"], capture_output=True, check=False).returncode == 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)

    def restart(self) -> None:
        self.stop()
        self.start()

    def run(self, *arguments: str) -> str:
        done = subprocess.run([*self.docker, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def reaches(self, container: str, address: str, port: int) -> bool:
        command = [*self.docker, "exec", container, "python3", "-c", CONNECT, address, str(port)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def _engine(host: Namespace, folder: Path) -> Iterator[_Engine]:
    engine = _Engine(host, folder)
    try:
        yield engine
    finally:
        there = engine.run("ps", "-aq").split()
        if there:
            engine.run("rm", "-f", *there)
        engine.stop()
