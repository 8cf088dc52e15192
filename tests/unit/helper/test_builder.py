"""The builder for untrusted code, as far as it needs no root."""

from __future__ import annotations

import argparse
import json
import os
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from stager.helper.builder import disk
from stager.helper.builder.builder import Builder, link_network
from stager.helper.builder.engine import folder_of_engine
from stager.helper.builder.process import Process
from stager.helper.builder.sandbox import FIRST_ID, Sandbox, resolvers
from stager.helper.firewall.firewall import Firewall
from stager.helper.firewall.rules import FirewallOptions
from stager.helper.protocol import HelperError
from stager.helper.verbs import Feature, failed


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    inside, outside = IPv4Interface("198.18.255.254/30"), IPv4Interface("198.18.255.253/30")
    return Sandbox(tmp_path, tmp_path / "programs", inside, outside, 20 << 30)


class TestRoom:
    def test_its_etc_has_nothing_of_the_host_s(self, sandbox: Sandbox) -> None:
        files = sandbox.files()
        assert set(files) == {
            "builder.json", "passwd", "group", "subuid", "subgid", "hosts", "nsswitch.conf", "resolv.conf",
        }  # fmt: skip
        assert files["subuid"] == f"stager-builder:{FIRST_ID}:65536\n"

    def test_its_engine(self, sandbox: Sandbox) -> None:
        said = json.loads(sandbox.files()["builder.json"])
        assert said["userns-remap"] == "stager-builder"
        assert said["builder"]["entitlements"] == {"network-host": False, "security-insecure": False}
        assert said["builder"]["gc"] == {"enabled": True, "defaultKeepStorage": f"{10 << 30}B"}
        assert not said.keys() & {"proxies", "registry-mirrors", "insecure-registries", "tls"}

    def test_its_namespaces(self, sandbox: Sandbox) -> None:
        command = sandbox.command()
        assert {"--net", "--mount", "--pid", "--ipc", "--uts", "--kill-child"} <= set(command)
        assert command[command.index("--propagation") + 1] == "private"


def test_resolvers_of_the_loopback_interface_are_another_one_in_the_room(tmp_path: Path) -> None:
    stub, real = tmp_path / "resolv.conf", tmp_path / "real.conf"
    stub.write_text("# systemd\nnameserver 127.0.0.53\nsearch example.org\n")
    real.write_text("nameserver 10.0.0.2\nnameserver fd00::1\nnameserver 10.0.0.3\n")
    assert resolvers((stub, real)) == ["10.0.0.2", "10.0.0.3"]
    assert resolvers((tmp_path / "none", stub)) == []


class TestDisk:
    @pytest.mark.parametrize(("text", "count"), [("20G", 20 << 30), ("1024M", 1 << 30), ("1T", 1 << 40)])
    def test_sizes(self, text: str, count: int) -> None:
        assert disk.size(text) == count

    @pytest.mark.parametrize("text", ["", "20", "G", "-1G", "1023M", "20GB", "20 G", "1e3G", "٢G"])
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(argparse.ArgumentTypeError):
            disk.size(text)

    def test_a_folder_that_others_may_write_to(self, tmp_path: Path) -> None:
        folder = tmp_path / "builder"
        folder.mkdir()
        folder.chmod(0o777)
        with pytest.raises(HelperError) as refused:
            disk.ensure(folder, 1 << 30)
        assert refused.value.reason == "builder-disk"

    def test_a_link_in_its_place(self, tmp_path: Path) -> None:
        folder = tmp_path / "builder"
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
        folder.with_name("elsewhere").chmod(0o777)
        with pytest.raises(HelperError):
            disk.ensure(folder, 1 << 30)


class TestEngine:
    @staticmethod
    def program(folder: Path, version: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "dockerd").write_text(f"#!/bin/sh\necho 'Docker version {version}, build 1'\n")
        (folder / "dockerd").chmod(0o755)

    def test_the_engines_own_has_precedence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.program(tmp_path / "own", "26.1.5+dfsg1")
        self.program(tmp_path / "system", "27.0.1")
        monkeypatch.setenv("PATH", f"{tmp_path / 'system'}:{os.environ['PATH']}")
        assert folder_of_engine(tmp_path / "own") == tmp_path / "own"
        assert folder_of_engine(tmp_path / "none") == tmp_path / "system"

    def test_one_that_is_too_old(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its BuildKit lets build steps out."""
        self.program(tmp_path / "system", "24.0.9")
        monkeypatch.setenv("PATH", f"{tmp_path / 'system'}:{os.environ['PATH']}")
        with pytest.raises(HelperError, match=r"Docker 24; the builder needs 25") as refused:
            folder_of_engine(tmp_path / "none")
        assert refused.value.reason == "builder-engine"


def test_networks() -> None:
    assert link_network("198.18.0.0/30") == IPv4Network("198.18.0.0/30")
    for text in ("198.18.0.0/31", "198.18.0.1/30", "x", "fd00::/64"):
        with pytest.raises(argparse.ArgumentTypeError):
            link_network(text)


class Broken(Firewall):
    """A firewall that can't be put in place."""

    def __init__(self) -> None:
        super().__init__(FirewallOptions(), Path("/nowhere"))

    def ensure(self) -> bool:
        raise failed("The rules aren't in place.", "firewall-lost")


class Running(Process):
    """An engine that runs until it is stopped."""

    ended = False
    was_started = True

    @property
    def engine(self) -> int | None:
        return None if self.ended else 1

    def stop(self) -> None:
        self.ended = True


def a_builder(tmp_path: Path) -> Builder:
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", default="root")
    parser.add_argument("--socket", type=Path, default=tmp_path / "helper.sock")
    for feature in (Firewall, Builder):
        feature.add_arguments(parser)
    return Builder.of(parser.parse_args(["--builder-folder", str(tmp_path / "builder")]))


class TestGuard:
    @pytest.fixture
    def builder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
        """One that could start, as far as the machine goes."""
        builder = a_builder(tmp_path)
        monkeypatch.setattr(builder, "unavailable", lambda: "")
        return builder

    @pytest.mark.parametrize("others", [[], [Broken()]])
    def test_without_the_firewall_it_is_not_started(self, builder: Builder, others: list[Feature]) -> None:
        builder.attach(others)
        start = next(verb for verb in builder.verbs() if verb.name == "builder-start")
        with pytest.raises(HelperError) as refused:
            start.run({})
        assert refused.value.reason == "builder-unguarded"

    def test_one_that_runs_is_stopped_when_the_firewall_is_lost(
        self, builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running = Running(tmp_path / "builder.sock", tmp_path)
        monkeypatch.setattr(builder, "_process", running)
        builder.attach([Broken()])
        builder.tick()
        assert running.ended


class TestLeftOver:
    def test_a_process_id_that_another_process_has_by_now(self, tmp_path: Path) -> None:
        """The note names a process that is long gone, whose id this test's own process has."""
        (tmp_path / "process").write_text(f"{os.getpid()} 1")
        Process(tmp_path / "builder.sock", tmp_path).stop_orphan()
        assert not (tmp_path / "process").exists()

    @pytest.mark.parametrize("note", ["", "x y", "999999999 5", "1"])
    def test_a_broken_note(self, tmp_path: Path, note: str) -> None:
        (tmp_path / "process").write_text(note)
        Process(tmp_path / "builder.sock", tmp_path).stop_orphan()
        assert not (tmp_path / "process").exists()
