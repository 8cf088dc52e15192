"""A Stager under test: the real command in a process of its own, on real Docker, in a folder of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import yaml

from tests.docker_socket import listed, remove, remove_labelled
from tests.integration.serving import Serving

USER, PASSWORD = "testuser", "test:password"
SECRET = "hook-secret"
PATIENCE = 60.0
"""Seconds until a test gives up waiting; reached only when something is broken."""

T = TypeVar("T")


def until(look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """What `look` sees, as soon as it sees something."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        time.sleep(0.03)
    raise AssertionError(f"{what}: not within {patience} s")


def docker(*arguments: str) -> str:
    """What the docker command prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


class Process(Protocol):
    """`stager serve`, as `serving.Serving` has it."""

    @property
    def pid(self) -> int: ...

    @property
    def runs(self) -> bool: ...

    def kill(self) -> None: ...

    def terminate(self, patience: float) -> int: ...


class ChildProcess:
    """A `Process` that was started as a program."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End it like a power cut, and wait for that."""
        self._process.kill()
        self._process.wait()

    def terminate(self, patience: float) -> int:
        """Terminate it; returns its exit code."""
        self._process.terminate()
        return self._process.wait(patience)


class StagerUnderTest:
    """One installation.

    Args:
        folder: an empty one.
        image: the application under test.
        configuration: keys of config.yml besides those that every test needs; `images` is merged.
    """

    def __init__(self, folder: Path, image: str, configuration: Mapping[str, Any]) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.installation = f"test-{secrets.token_hex(4)}"
        self.config = folder / "config.yml"
        self.log = folder / "stager.log"
        self.process: Process | None = None
        self.port = 0
        self._image = image
        self._given = configuration
        self.more: dict[str, Any] = {}
        """Keys besides those, for what is only known once this is made."""
        self._client = httpx.Client(timeout=PATIENCE, trust_env=False)

    def configure(self, **more: Any) -> None:
        """Write config.yml."""
        app = {"image": self._image, "port": 3000, "command": "python3 /server.py", "drain_timeout": 5,
               "stop_grace_period": 1}  # fmt: skip
        basics = {
            "listen": f"127.0.0.1:{self.port}",
            "state_dir": str(self.state),
            "authentication_strategy": "BasicAuthentication",
            "users": [f"{USER}:{PASSWORD}"],
            "event_listeners": ["LaunchOnGithubPullRequestOpened", "KillOnGithubPullRequestClosed"],
            "github": {"incoming_auth": {"hook_secret": SECRET}},
            "log_format": "json",
            "reconcile_interval": "5s",
            "helper": "off",  # the machine's own helper, if there is one, isn't the test's
        }
        merged = {**basics, **self._given, **self.more, **more}
        images = merged.get("images", {"shop": {}})
        built = {"drain_timeout": 5, "stop_grace_period": 1, "start_timeout": 30}
        merged["images"] = {
            name: {**(built if "build" in (block or {}) else app), **(block or {})}
            for name, block in images.items()
        }
        self.config.write_text(yaml.safe_dump(merged))

    def start(self) -> None:
        """Start the control plane, and the front if it doesn't run; wait until it is ready."""
        self.state.mkdir(exist_ok=True)
        (self.state / "instance_id").write_text(self.installation)
        if not self.config.exists():
            self.configure()
        self.process = self._begin()
        until(self._ready, "Stager is ready")
        if not self.port:
            self.port = self._front_port()
            self.configure()

    def _begin(self) -> Process:
        return Serving(self.config, self.folder, self.log)

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.runs, self.log.read_text()[-4000:]
        connection = http.client.HTTPConnection("stager", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self.state / "control.sock"))
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _front_port(self) -> int:
        """The port that the system chose for the front, which every later start asks for."""
        entries = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        url = next(line["url"] for line in entries if line["event"] == "serving")
        return int(url.rpartition(":")[2])

    @property
    def control_pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def front_pid(self) -> int:
        """The front's process; 0 while there is none."""
        found = subprocess.run(
            ["pgrep", "-f", f"stager.front .*--state-dir={self.state}/front( |$)"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return int((found.stdout.split() or ["0"])[-1])

    def kill9(self) -> None:
        """End the control plane as a power cut would."""
        assert self.process is not None
        self.process.kill()

    def restart(self) -> None:
        """`kill -9` and start again."""
        self.kill9()
        self.start()

    def connect_again(self) -> None:
        """Have the next request come by a new connection. One that is open stays with a front that was
        replaced, as by a start that asks for a port, and with its table as it was."""
        self._client.close()
        self._client = httpx.Client(timeout=PATIENCE, trust_env=False)

    def terminate(self) -> int:
        """Ask the control plane to stop; its exit code."""
        assert self.process is not None
        return self.process.terminate(PATIENCE)

    def kill_front(self) -> None:
        """End the front as a power cut would."""
        os.kill(self.front_pid, signal.SIGKILL)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def host(self, slug: str) -> str:
        return f"{slug}.localhost:{self.port}"

    def post(self, path: str, **data: str) -> httpx.Response:
        """A direct request with credentials and the Host that people would use."""
        return self._client.post(
            f"{self.url}{path}", data=data, auth=(USER, PASSWORD), headers={"Host": f"localhost:{self.port}"}
        )

    def launch(self, name: str = "test", image: str = "shop", **parameters: str) -> httpx.Response:
        return self.post("/launch", image_name=image, container_name=name, **parameters)

    def launched(self, name: str = "test", image: str = "shop", **parameters: str) -> str:
        """The URL of a launch that must work."""
        answer = self.launch(name, image, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.text

    def kill(self, name: str, image: str = "shop") -> httpx.Response:
        return self.post("/kill", image_name=image, container_name=name)

    def get(self, slug: str, path: str = "/", **headers: str) -> httpx.Response:
        """What a visitor of a preview gets. The name needn't resolve: we set the Host."""
        return self._client.get(f"{self.url}{path}", headers={"Host": self.host(slug), **headers})

    def api(self, path: str = "/environments", method: str = "GET", **options: Any) -> Any:
        answer = self._client.request(method, f"{self.url}/api/v1{path}", auth=(USER, PASSWORD), **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def preview_page(self, environment: str) -> str:
        """Stager's own page of a preview."""
        url = f"{self.url}/previews/{environment}"
        answer = self._client.get(url, headers={"Host": f"localhost:{self.port}"}, auth=(USER, PASSWORD))
        assert answer.is_success, answer.text
        return answer.text

    def text(self, path: str) -> str:
        """What the API answers in plain text."""
        answer = self._client.get(f"{self.url}/api/v1{path}", auth=(USER, PASSWORD))
        assert answer.is_success, answer.text
        return answer.text

    def environment(self, name: str) -> dict[str, Any]:
        """The newest environment of this name, gone ones included."""
        found: list[dict[str, Any]] = [e for e in self.api("/environments?gone=true") if e["name"] == name]
        return found[-1]

    def wait_for(self, name: str, *states: str) -> dict[str, Any]:
        """The environment of this name, once it is in one of these states."""

        def look() -> dict[str, Any] | None:
            found = [e for e in self.api("/environments?gone=true") if e["name"] == name]
            return found[-1] if found and found[-1]["state"] in states else None

        return until(look, f"{name} is {' or '.join(states)}")

    def containers(self, *filters: str) -> list[str]:
        """The ids of this installation's containers, in whatever state."""
        return listed("container", f"label=stager.installation={self.installation}", *filters)

    def networks(self) -> list[str]:
        return listed("network", f"label=stager.installation={self.installation}")

    def volumes(self) -> list[str]:
        """The names of the volumes of its previews."""
        return listed("volume", f"label=stager.installation={self.installation}")

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", container))[0]
        return found

    def deliver(
        self,
        payload: Mapping[str, Any],
        *,
        event: str = "pull_request",
        delivery: str | None = None,
        path: str = "/event_receiver",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """A delivery as GitHub sends it, properly signed unless `headers` says otherwise."""
        body = json.dumps(payload).encode()
        signed = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
            "Host": f"localhost:{self.port}",
        }
        given = {**signed, **(headers or {})}
        sent = {name: value for name, value in given.items() if value}
        return self._client.post(f"{self.url}{path}", content=body, headers=sent)

    def empty(self) -> None:
        """Remove all previews, as at a first start, so that the next test finds nothing of the last one's."""
        for environment in self.api():
            self.api(f"/environments/{environment['id']}", "DELETE")
        until(lambda: not self.containers() and not self.networks(), "nothing runs any more", 90)

    def show_log(self) -> None:
        """Print the end of its log, for a test that fails."""
        if self.log.exists():
            print(f"--- {self.log}\n{self.log.read_text()[-8000:]}")

    def clean_up(self) -> None:
        """Leave nothing: processes, containers, networks, volumes, images that it built."""
        self._client.close()
        if self.process is not None:
            self.process.kill()
        if front := self.front_pid:
            os.kill(front, signal.SIGKILL)
        label = f"stager.installation={self.installation}"
        remove_labelled(label)
        remove("image", *listed("image", f"label={label}"))


def basic(user: str, password: str) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
