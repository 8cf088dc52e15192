"""What the demo needs besides Stager: a git repository that containers can reach, and an image.

`demo.py` calls it. The image comes about as in the walkthrough, by change and commit: start a container,
clone the repository into it, add the boot script, commit the container as an image.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "demo"
BASE_IMAGE = "stager-base/python:1"
RECIPE_LABEL = "stager.recipe"
APP = "stager-demo"
IMAGE = f"{APP}:demo"
"""With a tag of its own, so that an image made by hand along the walkthrough is left alone."""
REPOSITORY = f"demo/{APP}"
GIT_PORT = 9418
"""git's own; another one is taken where this is in use."""
SIOCGIFADDR = 0x8915
"""Linux's request for the address of a network interface (netdevice(7))."""


class DemoError(Exception):
    """The demo can't go on.

    Args:
        what: one sentence on what is the matter.
        hint: one sentence on what to do.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of the demo's repository, with the look that tells it from the others.

    Args:
        pull_request: its number; 0 for a branch without one.
    """

    name: str
    heading: str
    theme: str = "day"
    pull_request: int = 0


MAIN = Branch("main", "Small lights, folded by hand")
TEST = Branch("test", "Launched by hand")
WELCOME = Branch("welcome", "Welcome to the lantern shop", pull_request=1)
NIGHT = Branch("night-sky", "Lanterns over a night sky", theme="night", pull_request=2)
BRANCHES = (MAIN, TEST, WELCOME, NIGHT)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """The output of a command, without the last newline.

    Raises:
        DemoError: it ended with another status than 0; with the last lines of what it said.
    """
    # The user's own git settings (signing, hooks, templates) have no business here.
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = "\n  ".join((ended.stderr or ended.stdout).strip().splitlines()[-8:])
        raise DemoError(f"{shlex.join(map(str, command))} failed:\n  {said}")
    return ended.stdout.strip()


class Origin:
    """The bare repository that stands for GitHub's, and a checkout of it to work in.

    Args:
        folder: where both lie; made anew by `create`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bare = folder / f"{APP}.git"
        self.checkout = folder / "checkout"

    def create(self) -> None:
        """The repository with one commit a branch, of the app in `examples/demo/app`."""
        shutil.rmtree(self.folder, ignore_errors=True)
        run("git", "init", "--quiet", "--bare", "--initial-branch", MAIN.name, self.bare)
        shutil.copytree(EXAMPLE / "app", self.checkout)
        self.git("init", "--quiet", "--initial-branch", MAIN.name)
        self.git("config", "user.name", "Demo")
        self.git("config", "user.email", "demo@localhost")
        self.git("remote", "add", "origin", str(self.bare))
        self._commit("A shop that doesn't exist")
        for branch in BRANCHES[1:]:
            self.git("checkout", "--quiet", "-b", branch.name, MAIN.name)
            self.change(branch.heading, branch.theme)
        self.git("push", "--quiet", "--set-upstream", "origin", *(branch.name for branch in BRANCHES))

    def change(self, heading: str, theme: str) -> None:
        """Commit another heading and theme to the branch that is checked out."""
        page = self.checkout / "site" / "index.html"
        text = re.sub("<h1>.*</h1>", f"<h1>{heading}</h1>", page.read_text())
        page.write_text(re.sub('data-theme="[a-z]+"', f'data-theme="{theme}"', text))
        self._commit(heading)

    def push(self, branch: Branch, heading: str) -> None:
        """Commit another heading to the branch and push it, as anybody would."""
        self.git("checkout", "--quiet", branch.name)
        self.change(heading, branch.theme)
        self.git("push", "--quiet", "origin", branch.name)

    def announce_pushes(self, url: str, secret_file: Path) -> None:
        """From now on tell `url` of each push to a branch that has a pull request, as GitHub would."""
        numbers = "".join(
            f"    refs/heads/{b.name}) number={b.pull_request} ;;\n" for b in BRANCHES if b.pull_request
        )
        command = [sys.executable, str(ROOT / "scripts" / "deliver.py"), "synchronize", "--url", url]
        command += ["--repository", REPOSITORY, "--secret-file", str(secret_file)]
        hook = self.bare / "hooks" / "post-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(
            "#!/bin/sh\n# Tells Stager of each push to a pull request's branch, as GitHub would.\n"
            f'while read -r before after ref; do\n  case "$ref" in\n{numbers}    *) continue ;;\n  esac\n'
            f'  {shlex.join(command)} --number "$number" --branch "${{ref#refs/heads/}}" '
            '--before "$before" --sha "$after"\ndone\n'
        )
        hook.chmod(0o755)

    def head(self, branch: Branch) -> str:
        """The branch's newest commit."""
        return run("git", "--git-dir", self.bare, "rev-parse", branch.name)

    def git(self, *arguments: str) -> str:
        return run("git", *arguments, cwd=self.checkout)

    def _commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)


class GitDaemon:
    """Serves the repository where containers reach it: at the address that the host has on Docker's bridge.

    Args:
        folder: the folder of the repositories; all of them are served, for reading only.
        pid_file: by which a daemon that an earlier demo left behind is found.
    """

    def __init__(self, folder: Path, pid_file: Path) -> None:
        self._folder = folder
        self._pid_file = pid_file
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        address = _bridge_address()
        port = GIT_PORT if _is_free(address, GIT_PORT) else _free_port(address)
        command = ["git", "daemon", "--export-all", "--reuseaddr", "--informative-errors"]
        command += [f"--base-path={self._folder}", f"--listen={address}", f"--port={port}"]
        command += [f"--pid-file={self._pid_file}", str(self._folder)]
        # In a session of its own, so that Ctrl-C reaches the demo alone, which then ends it in good order.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        _wait_until_open(address, port, self._process)
        self.url = f"git://{address}:{port}/{APP}.git"

    def stop(self) -> None:
        """End it, and one that an earlier demo left behind."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
            self._process = None
        elif (pid := self._left_behind()) is not None:
            os.kill(pid, signal.SIGTERM)
        self._pid_file.unlink(missing_ok=True)

    def _left_behind(self) -> int | None:
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except (OSError, ValueError):
            return None
        return pid if f"--base-path={self._folder}" in command else None


def _bridge_address() -> str:
    # Asked of the kernel: the engine doesn't say it before the bridge's first container.
    option = '{{index .Options "com.docker.network.bridge.name"}}'
    bridge = run("docker", "network", "inspect", "bridge", "--format", option)
    try:
        with socket.socket() as any_socket:
            answer = fcntl.ioctl(any_socket, SIOCGIFADDR, struct.pack("256s", bridge.encode()))
    except OSError:
        raise DemoError(
            "Docker's bridge has no address on this machine, so containers can't reach the repository.",
            "Run the demo with Docker Engine on this very machine, not rootless and without DOCKER_HOST.",
        ) from None
    return socket.inet_ntoa(answer[20:24])


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _wait_until_open(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
        if process.poll() is not None:
            break
    raise DemoError(f"git daemon doesn't serve on {address}:{port}.", "Try it by hand: git daemon --verbose")


def build_image(origin_url: str) -> bool:
    """Make the image unless it is there already, of the same parts. Returns whether it was made."""
    boot_script = EXAMPLE / "run.sh"
    base = run("docker", "image", "inspect", "--format", "{{.Id}}", BASE_IMAGE)
    recipe = hashlib.sha256("\n".join((base, origin_url, boot_script.read_text())).encode()).hexdigest()[:16]
    if _recipe_of(IMAGE) == recipe:
        return False
    with contextlib.suppress(DemoError):
        run("docker", "rmi", IMAGE)  # Its name is about to be taken; it would stay on, nameless.
    container = run("docker", "run", "--detach", BASE_IMAGE, "sleep", "600")
    try:
        run("docker", "exec", container, "git", "clone", "--quiet", origin_url, f"/{APP}")
        run("docker", "cp", boot_script, f"{container}:/run.sh")
        run("docker", "commit", "--change", f"LABEL {RECIPE_LABEL}={recipe}", container, IMAGE)
    finally:
        run("docker", "rm", "--force", container)
    return True


def _recipe_of(image: str) -> str:
    """What the image was made of; empty when there is none."""
    label = f'{{{{index .Config.Labels "{RECIPE_LABEL}"}}}}'
    with contextlib.suppress(DemoError):
        return run("docker", "image", "inspect", "--format", label, image)
    return ""
