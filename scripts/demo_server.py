"""Stager as the demo runs it: its configuration, its start and stop, and questions to it.

`demo.py` calls it. It talks to Stager as anybody would: by its command, over HTTP, and by the labels that its
containers bear.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from deliver import PullRequest, deliver
from demo_origin import APP, IMAGE, REPOSITORY, Branch, DemoError, run

USER, PASSWORD = "testuser", "testpassword"
"""The walkthrough's own; Stager listens on 127.0.0.1 only."""

CONFIGURATION = """\
# Written by scripts/demo, anew each time.
domain: localhost:{port}
listen: 127.0.0.1:{port}
state_dir: {state}
images:
  {app}:
    image: '{image}'
    repo_owner: {owner}
    port: 3000
    command: '/bin/bash /run.sh'
    container_create_params:
      AttachStdin: true
      AttachStdout: true
      AttachStderr: true
      OpenStdin: true
      StdinOnce: true
      Tty: true
authentication_strategy: 'BasicAuthentication'
users:
  - '{user}:{password}'
event_listeners:
  - 'LaunchOnGithubPullRequestOpened'
  - 'KillOnGithubPullRequestClosed'
github:
  incoming_auth:
    hook_secret: 'file:{secret_file}'
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a request."""

    status: int
    text: str


class Server:
    """One installation of Stager, in a folder of its own that can be thrown away.

    Args:
        folder: for its configuration, its secret and all that it writes.
        port: where it listens, on 127.0.0.1 only.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.config = folder / "config.yml"
        self.secret_file = folder / "hook_secret"
        self.state = folder / "state"
        self.output = folder / "stager.out"
        self.home = f"http://localhost:{port}/"
        self.webhook = f"http://127.0.0.1:{port}/webhooks/github"

    def configure(self) -> None:
        """Write the configuration and a fresh secret, and forget all of an earlier run."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir(parents=True)
        self.secret_file.touch(mode=0o600)
        self.secret_file.write_text(secrets.token_hex(20))
        self.config.write_text(
            CONFIGURATION.format(
                port=self.port, state=json.dumps(str(self.state)), app=APP, image=IMAGE,
                owner=REPOSITORY.split("/", maxsplit=1)[0], user=USER, password=PASSWORD,
                secret_file=self.secret_file,
            )
        )  # fmt: skip

    def start(self) -> None:
        """Start it in the background, and wait until it is ready."""
        started = self._command("serve", "--detach")
        self.output.write_text(started.stdout + started.stderr)
        if started.returncode:
            raise DemoError("stager serve --detach failed.", f"What it said: {self.output}")
        wait_until(lambda: self.ask("/readyz").status == 200, "Stager isn't ready (/readyz)", seconds=30)

    def stop(self) -> None:
        """Stop it, if it runs, and remove every container and network of this installation."""
        try:
            if self.config.exists():
                self._command("stop")
        finally:
            if self.instance_id:
                remove_everything_of(self.instance_id)

    @property
    def instance_id(self) -> str:
        """What its containers' labels call this installation; empty before its first start."""
        with contextlib.suppress(FileNotFoundError):
            return (self.state / "instance_id").read_text().strip()
        return ""

    def deliver(self, action: str, branch: Branch, sha: str) -> None:
        """What GitHub would send for the branch's pull request, signed with the right secret."""
        answer = self.deliver_with(self.secret_file.read_text(), action, branch, sha)
        if answer.status != 202:
            raise DemoError(f"The webhook answered {answer.status} to a signed delivery: {answer.text}")

    def deliver_with(self, secret: str, action: str, branch: Branch, sha: str) -> Answer:
        pull = PullRequest(REPOSITORY, branch.pull_request, branch.name, sha, title=branch.heading)
        return Answer(*deliver(self.webhook, secret, action, pull))

    def url_of(self, branch: Branch) -> str:
        """Where Stager says that the branch's preview is; empty while it knows of none."""
        answer = self.ask("/api/v1/environments", signed_in=True)
        if answer.status != 200:
            raise DemoError(f"The API answered {answer.status}: {answer.text}")
        return next((str(e["url"]) for e in json.loads(answer.text) if e["name"] == branch.name), "")

    def post(self, path: str, **form: str) -> Answer:
        """Send a form as the walkthrough's user, as its curl commands do."""
        return self.ask(path, signed_in=True, form=urlencode(form))

    def ask(self, path: str, *, host: str = "", signed_in: bool = False, form: str = "") -> Answer:
        """One request; status 0 when nobody answers. Python doesn't resolve `*.localhost`, so the address
        is dialled and the host goes into the header."""
        headers = {"Host": f"{host or 'localhost'}:{self.port}"}
        if signed_in:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120 if form else 10)
        try:
            connection.request("POST" if form else "GET", path, form or None, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, str(error))
        finally:
            connection.close()

    def containers(self) -> list[str]:
        """The ids of this installation's containers, running or not."""
        label = f"label=stager.instance={self.instance_id}"
        return run("docker", "ps", "--all", "--quiet", "--filter", label).split()

    def last_words(self) -> str:
        """The ends of its logs and of its containers', for somebody who wonders what went wrong."""
        parts = [_tail(str(log), log.read_text("utf-8", "replace")) for log in self._logs()]
        for container in self.containers() if self.instance_id else []:
            logs = subprocess.run(
                ["docker", "logs", "--tail", "10", container], capture_output=True, text=True, check=False
            )
            parts.append(_tail(f"container {container}", logs.stdout + logs.stderr))
        return "\n".join(parts)

    def _logs(self) -> list[Path]:
        return [
            p for p in (self.output, *sorted(self.state.glob("*.log"))) if p.is_file() and p.stat().st_size
        ]

    def _command(self, *words: str) -> subprocess.CompletedProcess[str]:
        stager = Path(sys.executable).with_name("stager")
        command = [str(stager), words[0], "--config", str(self.config), *words[1:]]
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=90
            )
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"stager {words[0]} took longer than {error.timeout:.0f} s.") from None


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    """Wait until something is the case.

    Raises:
        DemoError: it wasn't in this time; `what` says how things then are.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f"{what} after {seconds:.0f} s.")
        time.sleep(0.1)


def is_port_free(port: int) -> bool:
    """Whether nothing answers on this port of 127.0.0.1."""
    with contextlib.suppress(OSError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
        return False
    return True


def remove_everything_of(instance_id: str) -> None:
    """Remove the containers of an installation, then its networks; what is being removed already is awaited.

    Raises:
        DemoError: something is still there after a minute.
    """
    label = f"label=stager.instance={instance_id}"
    for kind, remove in (("container", ("rm", "--force", "--volumes")), ("network", ("rm",))):
        wait_until(partial(_are_removed, kind, remove, label), f"There still are {kind}s with the {label}")


def _are_removed(kind: str, remove: tuple[str, ...], label: str) -> bool:
    everything = ("--all",) if kind == "container" else ()
    ids = run("docker", kind, "ls", *everything, "--quiet", "--filter", label).split()
    if ids:
        subprocess.run(["docker", kind, *remove, *ids], capture_output=True, check=False)
    return not ids


def _tail(title: str, text: str, lines: int = 15) -> str:
    return "\n".join((f"--- the end of {title}", *text.splitlines()[-lines:]))
