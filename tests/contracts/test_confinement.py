"""What an instance on real Docker may not do to the machine, tried from within."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stager.domain.environment import Instance
from stager.domain.errors import Fault
from stager.engines.docker import volumes
from stager.engines.docker.files import archive_of
from stager.ports.clock import RandomIds
from stager.ports.engine import Ran
from tests.contracts.engines import LIMITS, DockerUnderTest, docker_under_test, instance_labels, with_settings

pytestmark = pytest.mark.docker

PYTHON, NODE = "stager-base/python:1", "stager-base/node:1"
EPERM, ENOSYS = 1, 38
SYSCALL = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
"""What a call by its number ends with: https://man7.org/linux/man-pages/man2/syscall.2.html."""

SOCKETCALL_OF_32_BITS = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
low = libc.mmap(None, 4096, 7, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, -1, 0)  # MAP_32BIT
ctypes.memmove(low + 512, (40).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4), 12)
number, where = (102).to_bytes(4, "little"), (low + 512).to_bytes(4, "little")
code = b"\\x53\\xb8" + number + b"\\xbb\\x01\\0\\0\\0\\xb9" + where + b"\\xcd\\x80\\x5b\\xc3"
ctypes.memmove(low, code, len(code))
print(ctypes.CFUNCTYPE(ctypes.c_int)(low)())
"""
"""`int 0x80` from a 64-bit program: `socketcall(SYS_SOCKET, {AF_VSOCK, SOCK_STREAM, 0})`."""


@pytest.fixture
async def engine() -> AsyncIterator[DockerUnderTest]:
    async with docker_under_test() as opened:
        yield opened


async def inside(
    engine: DockerUnderTest, *command: str, image: str = PYTHON, host: Mapping[str, Any] | None = None
) -> Ran:
    """What a command comes to in an instance of the image."""
    found = await engine.images.resolve(image)
    spec = with_settings(
        replace(await engine.spec("runs", instance_labels()), image=found),
        command=("sleep", "600"),
        parameters={"HostConfig": dict(host or {})},
    )
    made = await engine.instances.create(spec)
    await engine.instances.start(made.id)
    return await engine.instances.run(made.id, command, 60)


async def python(engine: DockerUnderTest, script: str, **more: Any) -> str:
    """What a script prints."""
    ran = await inside(engine, "python3", "-c", script, **more)
    assert ran.exit_code == 0, ran.output
    return ran.output.strip()


def container_of(engine: DockerUnderTest) -> str:
    """The id of the only container."""
    ours = f"label=stager.installation={engine.installation}"
    listing = ["docker", "ps", "--all", "--quiet", "--filter", ours]
    [container] = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
    return container


def host_config(engine: DockerUnderTest) -> dict[str, Any]:
    """What Docker holds of the only instance."""
    inspected = subprocess.run(
        ["docker", "inspect", container_of(engine)], capture_output=True, check=True
    ).stdout
    found: dict[str, Any] = json.loads(inspected)[0]["HostConfig"]
    return found


class TestSystemCalls:
    @pytest.mark.attack(
        "io_uring",
        profile="repository's own code",
        result="ENOSYS",
    )
    @pytest.mark.parametrize("call", [425, 426, 427])
    async def test_no_io_uring(self, engine: DockerUnderTest, call: int) -> None:
        """`io_uring_setup`, `_enter` and `_register` have these numbers on every processor."""
        said = await python(engine, f"{SYSCALL} print(libc.syscall({call}, 1, 0), ctypes.get_errno())")

        assert said == f"-1 {ENOSYS}"

    async def test_without_the_profile_io_uring_would_be_there(self, engine: DockerUnderTest) -> None:
        """That is, the test above can fail. EFAULT: the kernel looked at the arguments."""
        host = {"SecurityOpt": ["seccomp=unconfined"]}
        said = await python(
            engine, f"{SYSCALL} print(libc.syscall(425, 1, 0), ctypes.get_errno())", host=host
        )

        assert said == "-1 14"

    @pytest.mark.attack(
        "A socket of AF_VSOCK, AF_ALG and other families",
        profile="repository's own code",
        result="EPERM",
    )
    @pytest.mark.parametrize("family", [40, 38, 15, 30, 29])
    async def test_no_sockets_past_the_network(self, engine: DockerUnderTest, family: int) -> None:
        """AF_VSOCK, which leads to the hypervisor; AF_ALG, AF_KEY, AF_TIPC, AF_CAN."""
        said = await python(
            engine, f"{SYSCALL} print(libc.socket({family}, 1, 0), ctypes.get_errno(), libc.socketpair)"
        )

        assert said.startswith(f"-1 {EPERM}")

    @pytest.mark.attack(
        "A socket of AF_VSOCK by the 32-bit system call socketcall",
        profile="repository's own code",
        result="ENOSYS",
    )
    async def test_nor_by_the_call_of_32_bit_programs(self, engine: DockerUnderTest) -> None:
        assert await python(engine, SOCKETCALL_OF_32_BITS) == f"-{ENOSYS}"

    @pytest.mark.attack(
        "User namespaces, mount, keyctl, bpf, userfaultfd, perf_event_open, kexec_load, personality",
        profile="repository's own code",
        result="EPERM",
    )
    @pytest.mark.parametrize(
        "call",
        [
            "unshare(0x10000000)",  # a user namespace
            "mount(None, b'/tmp', b'tmpfs', 0, None)",
            "syscall(250, 0, 0)",  # keyctl
            "syscall(321, 0, 0, 0)",  # bpf
            "syscall(323, 0)",  # userfaultfd
            "syscall(298, 0, 0, 0, 0, 0)",  # perf_event_open
            "syscall(246, 0, 0, 0, 0)",  # kexec_load
            "personality(0x0040000)",  # without random addresses
        ],
    )
    async def test_what_docker_refuses_itself(self, engine: DockerUnderTest, call: str) -> None:
        assert await python(engine, f"{SYSCALL} print(libc.{call}, ctypes.get_errno())") == f"-1 {EPERM}"

    async def test_a_capability_brings_its_calls(self, engine: DockerUnderTest) -> None:
        said = await python(
            engine,
            f"{SYSCALL} print(libc.unshare(0x4000000), ctypes.get_errno())",  # a UTS namespace
            host={"CapAdd": ["SYS_ADMIN"]},
        )

        assert said == "0 0"

    async def test_an_administrator_s_own_profile_counts(self, engine: DockerUnderTest) -> None:
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
        host = {"SecurityOpt": [f"seccomp={json.dumps(profile)}"]}
        said = await python(
            engine, f"{SYSCALL} print(libc.syscall(425, 1, 0), ctypes.get_errno())", host=host
        )

        assert said == "-1 14"

    async def test_another_security_option_leaves_ours(self, engine: DockerUnderTest) -> None:
        host = {"SecurityOpt": ["label=disable"]}
        said = await python(
            engine, f"{SYSCALL} print(libc.syscall(425, 1, 0), ctypes.get_errno())", host=host
        )

        assert said == f"-1 {ENOSYS}"


class TestOrdinaryPrograms:
    async def test_threads_processes_sockets_and_locks(self, engine: DockerUnderTest) -> None:
        script = """
import asyncio, fcntl, mmap, multiprocessing, os, select, signal, socket, sqlite3, subprocess
import tempfile, threading
asyncio.run(asyncio.create_subprocess_exec("true"))
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
thread = threading.Thread(target=print, args=("thread",)); thread.start(); thread.join()
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    socket.socket(family, socket.SOCK_STREAM).close()
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
socket.if_nameindex(); socket.socketpair()
sqlite3.connect("/tmp/db").execute("pragma journal_mode=wal")
with tempfile.TemporaryFile() as file:
    fcntl.flock(file, fcntl.LOCK_EX); file.write(b"x" * 4096); file.flush(); os.fsync(file.fileno())
    mmap.mmap(file.fileno(), 4096)
os.memfd_create("x"); os.eventfd(0) if hasattr(os, "eventfd") else None; select.epoll()
signal.setitimer(signal.ITIMER_REAL, 10); os.getrandom(8); os.sched_setaffinity(0, os.sched_getaffinity(0))
subprocess.run(["sh", "-c", "ls -l / | sort | tail -n 1"], check=True, capture_output=True)
print("all of it")
"""
        assert (await python(engine, script)).endswith("all of it")

    async def test_node(self, engine: DockerUnderTest) -> None:
        script = """
const { Worker } = require("worker_threads"), http = require("http");
require("child_process").execSync("true"); require("os").networkInterfaces();
require("fs").watch("/tmp").close();
new Worker("0", { eval: true }).on("exit", () =>
  http.createServer((q, a) => a.end("hello")).listen(0, function () {
    http.get({ port: this.address().port }, r => r.on("data", d => { console.log(`${d}`); process.exit() }))
  }))
"""
        ran = await inside(engine, "node", "-e", script, image=NODE)

        assert (ran.exit_code, ran.output.strip()) == (0, "hello")


class TestLimits:
    async def test_no_swap_open_files_and_no_core_dumps(self, engine: DockerUnderTest) -> None:
        said = await python(
            engine,
            "import resource as r; print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE))",
        )
        host = host_config(engine)

        assert said == "(16384, 16384) (0, 0)"
        assert host["MemorySwap"] == host["Memory"] > 0

    async def test_an_administrator_s_limits_count(self, engine: DockerUnderTest) -> None:
        given = {"memory": 100 << 20, "Ulimits": [{"name": "nofile", "soft": 200, "hard": 200}]}
        said = await python(
            engine,
            "import resource as r; print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE))",
            host=given,
        )
        host = host_config(engine)

        assert said == "(200, 200) (0, 0)"
        assert (host["Memory"], host["MemorySwap"]) == (100 << 20, 100 << 20)

    @pytest.mark.parametrize(
        ("given", "held"),
        [
            ({"MemorySwap": -1}, -1),
            ({"MemorySwap": 1 << 30, "Memory": 1 << 29}, 1 << 30),
            ({"Memory": 0}, 0),
        ],
    )
    async def test_an_administrator_s_swap_counts(
        self, engine: DockerUnderTest, given: Mapping[str, int], held: int
    ) -> None:
        await inside(engine, "true", host=given)

        assert host_config(engine)["MemorySwap"] == held


VOLUMES = f"""FROM {PYTHON}
RUN mkdir /data /other && echo hidden > /data/file && chown 1234:1235 /data && chmod 2750 /data
VOLUME ["//data", "/missing/./folder", "/other/"]
USER 1234
"""
LOOK = """
import os, re
for path in ("/data", "/missing/folder", "/other"):
    found, [mount] = os.stat(path), [l.split() for l in open("/proc/mounts") if l.split()[1] == path][-1:]
    print(path, found.st_uid, found.st_gid, oct(found.st_mode & 0o7777), mount[2], os.listdir(path))
"""
FILL = """
try:
    with open("/data/x", "wb") as file:
        for _ in range(10_000): file.write(bytes(1 << 20)); file.flush()
except OSError as error: print(error.errno, os.path.getsize("/data/x") >> 20)
"""


@pytest.fixture
def with_volumes(tmp_path: Path) -> Iterator[str]:
    """An image that declares volumes, one of them of a user of its own."""
    with image_of(tmp_path, VOLUMES) as name:
        yield name


@contextmanager
def image_of(folder: Path, dockerfile: str) -> Iterator[str]:
    """An image, which goes at the end."""
    name = f"stager-test/volumes-{RandomIds().new()}:1"
    (folder / "Dockerfile").write_text(dockerfile)
    build = ["docker", "buildx", "build", "--load", "--label", "stager.test", "--tag", name, str(folder)]
    subprocess.run(build, check=True, capture_output=True)
    try:
        yield name
    finally:
        subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)


class TestVolumesOfImages:
    @pytest.mark.attack(
        "A file that fills a VOLUME of the image, with ReadonlyRootfs",
        profile="repository's own code",
        result="no space left at half of the instance's memory",
    )
    async def test_are_bounded_where_the_root_is_read_only(
        self, engine: DockerUnderTest, with_volumes: str
    ) -> None:
        host = {"ReadonlyRootfs": True}
        said = await python(engine, f"{LOOK}{FILL}", image=with_volumes, host=host)

        assert said.splitlines() == [
            "/data 1234 1235 0o2750 tmpfs []",
            "/missing/folder 0 0 0o1777 tmpfs []",
            "/other 0 0 0o755 tmpfs []",
            f"28 {LIMITS.memory // 2 >> 20}",
        ]
        assert volumes_of(engine) == []

    async def test_are_docker_s_where_it_isn_t(self, engine: DockerUnderTest, with_volumes: str) -> None:
        """That is, the test above can fail."""
        assert await python(engine, "import os; print(os.listdir('/data'))", image=with_volumes) == "['file']"
        assert volumes_of(engine)

    async def test_what_an_administrator_mounts_stays(
        self, engine: DockerUnderTest, with_volumes: str
    ) -> None:
        host = {"readonlyrootfs": True, "tmpfs": {"/data/": "size=1m,uid=1234"}}
        said = await python(engine, f"{LOOK}{FILL}", image=with_volumes, host=host)

        assert said.splitlines()[0] == "/data 1234 0 0o2750 tmpfs []"
        assert said.splitlines()[-1] == "28 1"

    async def test_one_with_a_relative_path_is_refused(self, engine: DockerUnderTest, tmp_path: Path) -> None:
        """Docker would make it on its disk, whatever is mounted there."""
        with image_of(tmp_path, f"FROM {PYTHON}\nVOLUME data\n") as image, pytest.raises(Fault) as caught:
            await inside(engine, "true", image=image, host={"ReadonlyRootfs": True})

        assert caught.value.reason == "volume-unbounded"

    async def test_nothing_is_left_of_the_look_at_the_image(
        self, engine: DockerUnderTest, with_volumes: str
    ) -> None:
        left = f"stager-{engine.installation}-volumes"
        subprocess.run(
            ["docker", "create", "--label", "stager.test", "--name", left, PYTHON, "true"],
            check=True,
            capture_output=True,
        )
        await inside(engine, "true", image=with_volumes, host={"ReadonlyRootfs": True})

        inspected = subprocess.run(["docker", "inspect", left], capture_output=True, check=False)
        assert inspected.returncode != 0

    async def test_a_container_for_inspection_never_counts_as_an_instance(
        self, engine: DockerUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever labels its image has: it would be started as one, without any of the bounds."""
        seen: list[Instance] = []
        runs: list[str] = []

        async def looked(*arguments: Any) -> bytes | None:
            seen.extend([*await engine.instances.find(), *await engine.instances.find("e9")])
            start = ["docker", "start", f"stager-{engine.installation}-volumes"]
            done = subprocess.run(start, capture_output=True, text=True, check=False)
            runs.extend([] if done.returncode else [done.stdout])
            return await archive_of(*arguments)

        monkeypatch.setattr(volumes, "archive_of", looked)
        labels = (
            "stager.schema=1 stager.environment=e9 stager.service=web stager.deployment=volumes "
            "stager.generation=1 stager.network=n stager.inputs=x"
        )
        lines = (
            f"FROM {PYTHON}",
            "VOLUME /data",
            f"LABEL {labels}",
            'ENTRYPOINT ["sh", "-c", "sleep 9"]',
            "",
        )
        with image_of(tmp_path, "\n".join(lines)) as image:
            found = await engine.images.resolve(image)
            await volumes.ImageVolumes(engine.docker, engine.installation).options(found)

        assert seen == []
        assert runs == [], "nor can it be started by accident"


def volumes_of(engine: DockerUnderTest) -> list[str]:
    """The volumes of the only instance."""
    shown = ["docker", "inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}", container_of(engine)]
    return subprocess.run(shown, capture_output=True, text=True, check=True).stdout.split()
