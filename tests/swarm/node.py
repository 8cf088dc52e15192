"""A machine of the test cluster: namespaces with a Docker engine and an SSH server of their own.

It has its own network, processes, mounts and host name. `/run`, `/etc` and `/var/lib/docker` are its own as
well, so Docker's socket, users and configuration have their usual paths there. Its processes, containers
included, end with the process that started it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from tests.integration.stager import until

START = 60.0
"""Seconds until its engine must answer."""

BOOT = """
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/sshd /run/lock
mount -t overlay overlay -o lowerdir=/etc,upperdir={folder}/etc,workdir={folder}/etc.work /etc
mount --bind {folder}/data /var/lib/docker
hostname {name}
printf '127.0.0.1 localhost\\n{address} {name}\\n' > /etc/hosts
ip link set lo up
touch {folder}/booted
trap : CHLD
while :; do sleep 3600 & wait $!; done
"""
"""The first process of the machine, which adopts and reaps those whose parent ended."""

SSHD = """
Port 22
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile /etc/test_authorized_keys .ssh/authorized_keys
StrictModes no
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PidFile /run/sshd.pid
Include /etc/ssh/sshd_config.d/*.conf
"""

FORWARD_ONLY = 'restrict,port-forwarding,command="/bin/false"'
"""The options of the key of `Cluster.key`: it may forward sockets and nothing else."""


class ClusterError(Exception):
    """A part of the cluster can't be started here."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine is in the network.

    Attributes:
        address: with its prefix.
        address6: the same.
        gateway: the host's address on the bridge.
        bridge: the host's.
        link: the host's end of the link.
    """

    address: IPv4Interface
    address6: IPv6Interface
    gateway: str
    bridge: str
    link: str


class Node:
    """One machine.

    Args:
        name: its host name.
        folder: all that it writes.
        place: see there.
        options: of its dockerd.
    """

    def __init__(self, name: str, folder: Path, place: Place, options: list[str]) -> None:
        self.name = name
        self.folder = folder
        self.place = place
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    @property
    def address(self) -> str:
        """Its address, which the host reaches."""
        return str(self.place.address.ip)

    @property
    def address6(self) -> str:
        """The same, of IPv6."""
        return str(self.place.address6.ip)

    @property
    def pid(self) -> int:
        """Its first process, as the host numbers it."""
        return self._init

    @property
    def docker_url(self) -> str:
        """Its engine, for the host: the file is reachable without the network."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def enter(self) -> list[str]:
        """What runs a command there."""
        return ["nsenter", f"--target={self._init}", "--net", "--mount", "--uts", "--pid", "--"]

    @property
    def log(self) -> str:
        """What its engine and its SSH server wrote."""
        return (self.folder / "log").read_text(errors="replace")

    def run(self, script: str) -> str:
        """Run a script there as root; it must work. Returns what it printed."""
        return run_command([*self.enter, "bash", "-e", "-c", script])

    def docker(self, *arguments: str) -> str:
        """What the docker command prints about its engine."""
        return run_command(["docker", "--host", self.docker_url, *arguments])

    # --- on and off

    def switch_on(self) -> None:
        """Start its first process. It ends with the thread that calls this."""
        for name in ("etc", "etc.work", "data"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "booted").unlink(missing_ok=True)
        self._start_init()

    def boot(self, key: str) -> None:
        """Start what runs there, and wait until its engine answers.

        Args:
            key: the public SSH key that may forward sockets as root.
        """
        self._connect()
        self.run(f"echo '{FORWARD_ONLY} {key}' > /etc/test_authorized_keys")
        self.start_ssh()
        self.start_engine()
        self.wait()

    def _start_init(self) -> None:
        script = BOOT.format(folder=self.folder, name=self.name, address=self.address)
        alone = [
            "unshare",
            "--net",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *alone, "bash", "-e", "-c", script],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until(self._has_booted, f"{self.name} boots", START)
        pid = self._process.pid
        self._init = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _has_booted(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise ClusterError(f"{self.name}: {self.log[-500:]}")
        return (self.folder / "booted").exists()

    def _connect(self) -> None:
        place = self.place
        subprocess.run(["ip", "link", "delete", place.link], capture_output=True, check=False)
        command = f"ip link add {place.link} type veth peer name eth0 netns {self._init}"
        run_command(command.split())
        run_command(f"ip link set {place.link} master {place.bridge} up".split())
        self.run(
            f"ip address add {place.address} dev eth0\nip address add {place.address6} dev eth0 nodad\n"
            "ip link set eth0 up"
        )

    def start_ssh(self) -> None:
        """Start its SSH server."""
        key = self.folder / "host_key"
        if not key.exists():
            run_command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
        configuration = self.folder / "sshd_config"
        configuration.write_text(SSHD.format(address=self.address, folder=self.folder))
        self.run(
            f"mkdir -p /etc/ssh/sshd_config.d; $(command -v sshd) -f {configuration} -E {self.folder}/log"
        )

    def stop_ssh(self) -> None:
        """End its SSH server with all connections."""
        self.run("pkill -KILL -x sshd")  # of its own processes: it has a namespace of them

    def start_engine(self) -> None:
        """Start its engine, without waiting for it."""
        # What was killed leaves this behind, and waits in vain for the containerd that it names.
        (self.folder / "docker.sock").unlink(missing_ok=True)
        hosts = f"--host unix:///run/docker.sock --host unix://{self.folder}/docker.sock"
        self.run(
            "rm -f /run/docker/containerd/containerd.pid /run/docker.pid\n"
            f"setsid --fork dockerd {hosts} {' '.join(self._options)} >>{self.folder}/log 2>&1 </dev/null"
        )

    def wait(self) -> None:
        """Wait until its engine answers."""
        until(self._answers, f"the engine of {self.name} answers", START)

    def _answers(self) -> bool:
        command = ["docker", "--host", self.docker_url, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def kill_engine(self) -> None:
        """SIGKILL its engine, as a bug of its own would end it: its containers go on without it."""
        self.run("kill -KILL $(cat /run/docker.pid) $(cat /run/docker/containerd/containerd.pid)")

    def cut(self) -> None:
        """Take its link to the network down. All that runs there goes on."""
        run_command(f"ip link set {self.place.link} down".split())

    def mend(self) -> None:
        """Bring its link up again."""
        run_command(f"ip link set {self.place.link} up".split())

    def power_off(self) -> None:
        """End all that runs there at once, as a power cut would, containers included."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        until(lambda: not Path(f"/proc/{self._init}").exists(), f"{self.name} is off", START)
        subprocess.run(["ip", "link", "delete", self.place.link], capture_output=True, check=False)

    @property
    def is_on(self) -> bool:
        """Whether it runs, with or without link and engine."""
        return self._process is not None and self._process.poll() is None


def run_command(command: list[str]) -> str:
    """Run a command that must work. Returns what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()[-600:]}")
    return done.stdout.strip()
