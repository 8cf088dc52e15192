"""Memory of paused containers, on a tree of files like the kernel's and with a stand-in for Docker."""

from __future__ import annotations

import contextlib
import errno
import http.server
import json
import os
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stager.helper.memory import cgroups
from stager.helper.memory.cgroups import VERSIONS, Cgroups, find_cgroups
from stager.helper.memory.memory import Memory
from tests.unit.helper.serving import line, sent, served

ID, OTHER = "ab" * 32, "cd" * 32
PROCESS = 4711
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="without root, the helper reclaims nothing")


def container(identity: str = ID, **state: Any) -> dict[str, Any]:
    """Docker's answer about a paused container of the installation `mine`."""
    return {
        "Id": identity,
        "Name": "/stager-mine-d1-web",
        "Config": {"Labels": {"stager.installation": "mine"}},
        "State": {"Paused": True, "Pid": PROCESS, **state},
        "HostConfig": {"Memory": 512 << 20, "MemorySwap": 512 << 20, "MemorySwappiness": 0},
    }


class Docker(socketserver.ThreadingUnixStreamServer):
    """Answers about these containers."""

    daemon_threads = True

    def __init__(self, path: Path, known: dict[str, Any]) -> None:
        self.known = known
        super().__init__(str(path), Answering)


class Answering(http.server.BaseHTTPRequestHandler):
    server: Docker

    def do_GET(self) -> None:
        found = self.server.known.get(self.path.split("/")[2])
        body = json.dumps(found or {"message": "No such container"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "helper"

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def docker(folder: Path, known: dict[str, Any] | None) -> Iterator[Path]:
    """The path of its socket. It knows one container, by `ID`."""
    path = folder / "docker.sock"
    with Docker(path, {ID: known} if known else {}) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield path
        finally:
            server.shutdown()


class Tree:
    """Control groups, and the processes in them.

    Args:
        version: of control groups.
    """

    def __init__(self, folder: Path, version: int) -> None:
        self.mount, self.version = folder / "cgroup", version
        self.proc = folder / "proc"
        self.files = VERSIONS[version]
        self._make(self.mount)
        (self.mount / "cgroup.controllers").write_text("cpu memory pids\n")
        kind = "cgroup cgroup rw,memory" if version == 1 else "cgroup2 cgroup2 rw,nsdelegate"
        (self.proc / "self").mkdir(parents=True)
        mounts = f"30 25 0:26 / /sys rw - sysfs sysfs rw\n31 30 0:27 / {self.mount} rw,nosuid - {kind}\n"
        (self.proc / "self" / "mountinfo").write_text(mounts)

    def add(self, group: str, process: int = PROCESS) -> Path:
        """A group with a process in it."""
        folder = self.mount / group.lstrip("/")
        self._make(folder)
        lines = f"5:cpu:/elsewhere\n4:memory:{group}\n" if self.version == 1 else f"0::{group}\n"
        (self.proc / str(process)).mkdir()
        (self.proc / str(process) / "cgroup").write_text(lines)
        return folder

    def found(self) -> Cgroups:
        return find_cgroups(self.proc)

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        contents = {self.files.usage: "1000\n", self.files.reclaim: "", self.files.swap: "0\n"}
        for name, text in contents.items():
            (folder / name).write_text(text)

    def touched(self) -> list[Path]:
        """The groups whose memory was reclaimed."""
        return [file.parent for file in self.mount.rglob(self.files.reclaim) if file.read_text()]


@pytest.fixture(params=[1, 2])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return Tree(tmp_path, request.param)


class TestCgroups:
    def test_found_where_they_are_mounted(self, tree: Tree) -> None:
        found = tree.found()
        assert (found.version, found.mount, found.lack) == (tree.version, tree.mount, "")

    def test_a_machine_without(self, tmp_path: Path) -> None:
        (tmp_path / "self").mkdir()
        mounts = tmp_path / "self" / "mountinfo"
        mounts.write_text(f"31 30 0:27 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
        assert find_cgroups(tmp_path).lack == "The kernel has no memory controller."

    def test_an_old_kernel(self, tree: Tree) -> None:
        (tree.mount / tree.files.reclaim).unlink()
        assert tree.files.reclaim in tree.found().lack

    @pytest.mark.parametrize("name", [f"docker/{ID}", f"system.slice/docker-{ID}.scope", f"mine/{ID}"])
    def test_a_containers_own(self, tree: Tree, name: str) -> None:
        assert tree.found().group_of(PROCESS, ID) is None
        folder = tree.add(f"/{name}")
        assert tree.found().group_of(PROCESS, ID) == folder
        assert tree.found().group_of(PROCESS, OTHER) is None

    def test_groups_within_a_container(self, tree: Tree) -> None:
        folder = tree.add(f"/docker/{ID}/init.scope")
        assert tree.found().group_of(PROCESS, ID) == folder.parent

    @pytest.mark.parametrize(
        "path", [f"/../{ID}", f"/docker/{ID}/../../x", f"/docker/x{ID}", f"/docker/{ID[:-1]}", "/", "x"]
    )
    def test_other_paths(self, tree: Tree, path: str) -> None:
        (tree.proc / "7").mkdir()
        (tree.proc / "7" / "cgroup").write_text(f"4:memory:{path}\n" if tree.version == 1 else f"0::{path}\n")
        assert tree.found().group_of(7, ID) is None

    def test_a_hierarchy_whose_root_isnt_mounted(self, tree: Tree) -> None:
        """As in a container with the helper."""
        found = tree.found()
        tree.add(f"/outer/docker/{ID}")
        within = Cgroups(found.version, tree.mount / "outer", "/outer", tree.proc)
        assert within.group_of(PROCESS, ID) == tree.mount / "outer" / "docker" / ID
        assert Cgroups(found.version, tree.mount, "/another", tree.proc).group_of(PROCESS, ID) is None


class TestReclaim:
    """With a kernel that gives back 900 of 1000 bytes."""

    @pytest.fixture
    def written(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
        written: list[tuple[str, str]] = []

        def write(file: Path, text: str) -> None:
            written.append((file.name, text))
            if "swap" not in file.name:
                (file.parent / VERSIONS[1].usage).write_text("100")
                (file.parent / VERSIONS[2].usage).write_text("100")

        monkeypatch.setattr(cgroups, "_write", write)
        return written

    def test_with_swap_open_meanwhile(self, tree: Tree, written: list[tuple[str, str]]) -> None:
        assert tree.found().reclaim(tree.add(f"/docker/{ID}"), "0") == 900
        amount = "0" if tree.version == 1 else "1000"
        files = tree.files
        assert written == [(files.swap, files.open), (files.reclaim, amount), (files.swap, "0")]

    def test_of_one_that_may_always_swap(self, tree: Tree, written: list[tuple[str, str]]) -> None:
        assert tree.found().reclaim(tree.add(f"/docker/{ID}")) == 900
        assert [name for name, _ in written] == [tree.files.reclaim]

    def test_without_accounting_of_swap(self, tree: Tree, written: list[tuple[str, str]]) -> None:
        folder = tree.add(f"/docker/{ID}")
        (folder / tree.files.swap).unlink()
        assert tree.found().reclaim(folder, "0") == 900
        assert [name for name, _ in written] == [tree.files.reclaim]

    @pytest.mark.parametrize(("number", "is_success"), [(errno.EAGAIN, True), (errno.EINVAL, False)])
    def test_when_the_kernel_refuses(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch, number: int, *, is_success: bool
    ) -> None:
        written = []

        def write(file: Path, text: str) -> None:
            written.append((file.name, text))
            if file.name == tree.files.reclaim:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(cgroups, "_write", write)
        folder = tree.add(f"/docker/{ID}")
        with contextlib.nullcontext() if is_success else pytest.raises(OSError, match="Invalid"):
            assert tree.found().reclaim(folder, "0") == 0
        assert written[-1] == (tree.files.swap, "0"), "swap is closed again"


@needs_root
class TestVerb:
    async def test_of_a_paused_container(self, tree: Tree, tmp_path: Path) -> None:
        folder = tree.add(f"/docker/{ID}")
        with docker(tmp_path, container()) as socket:
            async with served(tmp_path, Memory(tree.found(), socket)) as helper:
                fields = {"installation": "mine", "container": ID}
                answer = await sent(helper, line("memory-reclaim", fields))
        assert answer == {"ok": True, "result": {"bytes": 0}}
        assert tree.touched() == [folder]
        assert (folder / tree.files.swap).read_text() == "0"

    @pytest.mark.attack(
        "Have the root helper reclaim the memory of a container that runs, or isn't one of the installation",
        profile="Stager's user",
        result="refused; no file of the kernel is written",
    )
    @pytest.mark.parametrize(
        ("known", "reason"),
        [
            (None, "container-unknown"),
            ({**container(), "Config": {"Labels": {"stager.installation": "other"}}}, "container-unknown"),
            ({**container(), "Config": {"Labels": None}}, "container-unknown"),
            # An image has the label, and another program created a container from it.
            ({**container(), "Name": "/database"}, "container-unknown"),
            ({**container(), "Name": "/stager-mine2-d1-web"}, "container-unknown"),
            ({**container(), "Id": OTHER}, "container-unknown"),
            (container(Paused=False), "container-awake"),
            (container(Pid=PROCESS + 1), "group-unknown"),
        ],
    )
    async def test_of_others(
        self, tree: Tree, tmp_path: Path, known: dict[str, Any] | None, reason: str
    ) -> None:
        tree.add(f"/docker/{ID}")
        tree.add(f"/docker/{OTHER}", PROCESS + 1)
        with docker(tmp_path, known) as socket:
            async with served(tmp_path, Memory(tree.found(), socket)) as helper:
                fields = {"installation": "mine", "container": ID}
                answer = await sent(helper, line("memory-reclaim", fields))
        assert (answer["ok"], answer["reason"]) == (False, reason)
        assert tree.touched() == []

    @pytest.mark.attack(
        "Give the root helper a path, a name or a part of an id instead of a container",
        profile="Stager's user",
        result="refused before Docker is asked",
    )
    @pytest.mark.parametrize(
        "fields",
        [
            {"installation": "mine", "container": "/sys/fs/cgroup/memory"},
            {"installation": "mine", "container": "../" * 21 + "x"},
            {"installation": "mine", "container": "stager-mine-d1-web"},
            {"installation": "mine", "container": ID[:12]},
            {"installation": "mine", "container": f"{ID}\n"},
            {"installation": "mine", "container": ID.upper()},
            {"installation": "mine", "container": [ID]},
            {"installation": "../mine", "container": ID},
            {"installation": "", "container": ID},
            {"container": ID},
            {"installation": "mine", "container": ID, "path": "/"},
        ],
    )
    async def test_of_what_is_no_container(self, tree: Tree, tmp_path: Path, fields: dict[str, Any]) -> None:
        tree.add(f"/docker/{ID}")
        async with served(tmp_path, Memory(tree.found(), tmp_path / "none.sock")) as helper:
            answer = await sent(helper, line("memory-reclaim", fields))
        assert (answer["kind"], answer["reason"]) == ("refused", "bad-request")
        assert tree.touched() == []

    async def test_while_docker_is_away(self, tree: Tree, tmp_path: Path) -> None:
        fields = {"installation": "mine", "container": ID}
        async with served(tmp_path, Memory(tree.found(), tmp_path / "none.sock")) as helper:
            answer = await sent(helper, line("memory-reclaim", fields))
        assert (answer["kind"], answer["reason"]) == ("retry", "docker-away")

    async def test_where_the_kernel_cant(self, tmp_path: Path) -> None:
        memory = Memory(Cgroups(0, tmp_path), tmp_path / "none.sock")
        assert memory.unavailable() == "The kernel has no memory controller."
        fields = {"installation": "mine", "container": ID}
        async with served(tmp_path, memory) as helper:
            answer = await sent(helper, line("memory-reclaim", fields))
        assert (answer["kind"], answer["message"]) == ("fault", "The kernel has no memory controller.")


def test_without_root_it_isnt_available(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert Memory(tree.found()).unavailable() == "The helper isn't running as root."
