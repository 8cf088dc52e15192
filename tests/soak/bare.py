"""A bare Debian machine: a container with debootstrap's files and a running systemd, and nothing of ours."""

from __future__ import annotations

import contextlib
import re
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.integration.stager import docker

LABEL = "stager.test"
FEWEST = ("systemd", "systemd-sysv", "sudo", "curl", "ca-certificates")
"""What debootstrap's smallest variant lacks and every machine has."""
STAND_INS = ("stager-base/static:1", "stager-base/python-build:1", "stager-base/node:1")
"""The base images, which other machines pull from a registry."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP = Path("/etc/pip.conf")
GROUPS = "/sys/fs/cgroup"
REMOUNT = f"mount -o remount,rw /sys; for g in {GROUPS} {GROUPS}/*; do mount -o remount,rw,bind $g; done"
"""Docker mounts control groups read-only, for systemd and for the machine's own Docker."""
BOOTED = 'until systemctl is-system-running --wait 2>&1 | grep -Eqx "running|degraded"; do sleep 1; done'
TIMEOUT = 900.0
BOOTABLE = (
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
    "--device-cgroup-rule=a *:* rwm",
    "--cgroupns=private",
    "--tmpfs=/run:exec",
    "--tmpfs=/tmp:exec",
    "--volume=/var/lib/docker",
    "--env=container=docker",
    # systemd 256 and later use the first version of control groups only with this (its NEWS).
    "--env=SYSTEMD_PROC_CMDLINE=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
)
"""Options of a container in which systemd and a Docker engine of its own run."""


def image_of(release: str) -> str:
    """The image of a bare machine with this release, made at its first use."""
    image = f"stager-test/bare-{release}:2"
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode:
        with tempfile.TemporaryDirectory(prefix="stager-bare-") as folder:
            packages = f"--include={','.join(FEWEST)}"
            command = ["debootstrap", "--variant=minbase", packages, release, f"{folder}/tree", mirror()]
            subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
            subprocess.run(["tar", "-C", f"{folder}/tree", "-cf", f"{folder}/tar", "."], check=True)
            docker("import", "--change", f"LABEL {LABEL}=bare", f"{folder}/tar", image)
    return image


def mirror() -> str:
    """Where this machine gets Debian's packages."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return next(uri for uri in found if not uri.rstrip("/").endswith("security"))


def capabilities() -> list[str]:
    """Options for all capabilities that this machine's root has and Docker knows."""
    shown = subprocess.run(["capsh", "--print"], capture_output=True, text=True, check=True).stdout
    bounding = re.search(r"^Bounding set =(\S*)", shown, re.MULTILINE)
    names = bounding[1].split(",") if bounding else []
    unknown = {"cap_perfmon", "cap_bpf", "cap_checkpoint_restore"}
    return [f"--cap-add={name}" for name in names if name and name not in unknown]


class BareMachine:
    """A running one.

    Args:
        container: its id.
    """

    def __init__(self, container: str) -> None:
        self.container = container

    @property
    def address(self) -> str:
        """Its address on Docker's bridge."""
        return docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", self.container)

    def run(self, script: str, *, user: str = "root", given: str = "", **variables: str) -> str:
        """What a shell prints for this script. Raises AssertionError when it fails."""
        options = [f"--env={name}={value}" for name, value in variables.items()]
        shell = ["bash", "-euc", script] if user == "root" else ["runuser", "-l", user, "-c", script]
        done = subprocess.run(
            ["docker", "exec", "--interactive", *options, self.container, *shell],
            input=given, capture_output=True, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def start(self, script: str, *, user: str) -> subprocess.Popen[str]:
        """Start a script that goes on; its output is in the returned process."""
        command = ["docker", "exec", self.container, "runuser", "-l", user, "-c", script]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def knows(self, name: str, address: str, certificate: Path) -> None:
        """Have a name lead to an address, and trust its certificate."""
        self.run(f"echo '{address} {name}' >>/etc/hosts")
        self.copy(certificate, f"/usr/local/share/ca-certificates/{name}.crt")
        self.run("update-ca-certificates >/dev/null 2>&1")

    def copy(self, source: Path, target: str) -> None:
        self.run(f"mkdir -p {Path(target).parent}")
        docker("cp", str(source), f"{self.container}:{target}")

    def write(self, path: str, text: str) -> None:
        """Write a file, as in an editor."""
        self.run(f"mkdir -p {Path(path).parent}; cat >{path}", given=text)

    def load(self, images: Sequence[str] = STAND_INS) -> None:
        """Have its Docker engine know the base images."""
        saved = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE)
        command = ["docker", "exec", "--interactive", self.container, "docker", "load"]
        subprocess.run(command, stdin=saved.stdout, check=True, capture_output=True)
        saved.communicate()
        assert saved.returncode == 0


@contextlib.contextmanager
def bare_machine(release: str, *, boots: bool = True) -> Iterator[BareMachine]:
    """A running one.

    Args:
        boots: with systemd; otherwise nothing runs on it.
    """
    name = f"test-bare-{secrets.token_hex(4)}"
    boot = f"{REMOUNT}; exec {'/sbin/init' if boots else 'sleep infinity'}"
    options = ["--detach", f"--name={name}", f"--label={LABEL}=bare", *capabilities(), *BOOTABLE]
    container = docker("run", *options, image_of(release), "sh", "-c", boot)
    try:
        machine = BareMachine(container)
        machine.copy(CERTIFICATES, "/usr/local/share/ca-certificates/machine.crt")
        if PIP.exists():
            machine.copy(PIP, str(PIP))
        if boots:
            machine.run(f"timeout 120 sh -c '{BOOTED}'")
        machine.run("update-ca-certificates >/dev/null 2>&1")
        yield machine
    finally:
        docker("rm", "--force", "--volumes", container)
