"""Stager's own container image: `docker compose up`, the demo, and a restart of the control plane."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from demo import Demo
from demo_stage import APP, CONFIGURATION, ROOT, Checkout, Server, Visitor, wait_until

from tests.integration.own_builder import OwnBuilder, own_builder, why_not
from tests.integration.stager import docker
from tests.unit.docs.written import page_sample
from tests.unit.front.harness import free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

IMAGE, BASE = "stager-test/stager:1", "stager-base/debian:1"
PROJECT = "stager-test"
CONTROL_PLANE, FRONT = "control-plane", "front"
USER, PASSWORD = "ann", "a-password-of-the-test"
VISITORS = 4
PAGE = (ROOT / "docs" / "how-to" / "install-with-docker.md").read_text()


class ComposedServer(Server):
    """One installation in containers, as compose.yaml describes it.

    Args:
        helper: the root helper on this machine; None without one.
    """

    def __init__(self, folder: Path, port: int, installation: str, helper: OwnBuilder | None) -> None:
        super().__init__(folder, port)
        self._installation, self._helper = installation, helper

    def start(self) -> None:
        self.state.mkdir(mode=0o700)
        (self.state / "instance_id").write_text(self._installation)
        self.config.write_text(
            CONFIGURATION.format(port=self.port)
            + f"authentication_strategy: BasicAuthentication\nusers: ['{USER}:{PASSWORD}']\n"
        )
        start = page_sample("install-with-docker.md", "docker compose up --detach --build")
        other_base = page_sample("install-with-docker.md", "STAGER_BASE=stager-base/debian:1")
        assert other_base == f"STAGER_BASE={BASE} {start}"  # which `compose` sets
        self.typed(other_base)
        wait_until(lambda: self.ask("localhost", "/readyz")[0] == 200, "Stager isn't ready (/readyz)")

    def as_written(self, command: str) -> str:
        """Run a command of the page's table."""
        assert command in PAGE
        return self.typed(command)

    def typed(self, command: str) -> str:
        """Run a command, whose variables `compose` sets."""
        words = command.partition("docker compose ")[2].split()
        return self.compose(*(["exec", "-T", *words[1:]] if words[0] == "exec" else words))

    def compose(self, *words: str, timeout: float = 280) -> str:
        """Run `docker compose` in the repository, with this installation's folder."""
        helper = self._helper.folder if self._helper else self.config.parent / "no-helper"
        variables = os.environ | {
            "STAGER_DIR": str(self.config.parent), "STAGER_IMAGE": IMAGE, "STAGER_BASE": BASE,
            "STAGER_HELPER_DIR": str(helper),
        }  # fmt: skip
        done = subprocess.run(
            ["docker", "compose", "--project-name", PROJECT, *words],
            cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=timeout,
        )  # fmt: skip
        assert done.returncode == 0, f"docker compose {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.compose("ps", "--quiet", service).strip()

    def pid(self, service: str) -> int:
        return int(docker("inspect", "--format", "{{.State.Pid}}", self.container(service)))

    @property
    def has_helper(self) -> bool:
        return self._helper is not None

    def doctor_finds_the_helper(self) -> bool:
        return "✓ helper" in self.as_written("docker compose exec control-plane stager doctor")

    def log_tails(self) -> str:
        return self.compose("logs", "--tail", "40") + super().log_tails()

    def _command(self, *words: str) -> None:
        assert words == ("stop",)
        self.as_written("docker compose down")


class ComposedDemo(Demo):
    """The demo on it. Branches are pushed over HTTP: git's hook needs Stager's Python, which is in the image.

    Args:
        helper: the root helper on this machine; None without one.
    """

    server: ComposedServer

    def __init__(self, folder: Path, port: int, installation: str, helper: OwnBuilder | None) -> None:
        super().__init__(folder, port)
        self.server = ComposedServer(folder, port, installation, helper)
        self.checkout = Checkout(folder / APP, f"http://{USER}:{PASSWORD}@localhost:{port}/git/{APP}.git")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[ComposedDemo]:
    if os.geteuid() != 0:
        pytest.skip("the files of Stager in a container belong to root")
    for command in (["docker", "compose", "version"], ["docker", "image", "inspect", BASE]):
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip(f"{' '.join(command)} fails; scripts/test prepares it")
    installation = f"test-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        helper = None if why_not() else stack.enter_context(own_builder(installation=installation))
        made = ComposedDemo(tmp_path / "s", free_port(), installation, helper)
        try:
            yield made
        finally:
            made.clean_up()
            subprocess.run(["docker", "image", "rm", IMAGE], capture_output=True, check=False)


def test_the_image_runs_the_demo_and_its_control_plane_restarts_unseen(demo: ComposedDemo) -> None:
    try:
        demo.prepare()
        assert demo.server.doctor_finds_the_helper() == demo.server.has_helper
        assert "/login/link?secret=" in demo.server.typed(
            page_sample("install-with-docker.md", "docker compose exec control-plane stager login-link")
        )
        assert "front:         running" in demo.server.as_written(
            "docker compose exec control-plane stager status"
        )
        demo.open()
        demo.refresh("winter")
        restart_under_load(demo.server, "winter.localhost")
        demo.delete("night")
        restart_the_front(demo.server, "winter.localhost")
    except BaseException:
        print(demo.server.log_tails())
        raise


def restart_under_load(server: ComposedServer, host: str) -> None:
    """Restart the control plane, then kill it, while visitors send requests."""
    front, control_plane = server.pid(FRONT), server.pid(CONTROL_PLANE)
    with ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(server, host)) for _ in range(VISITORS)]
        server.typed(page_sample("install-with-docker.md", "docker compose restart control-plane"))
        wait_until(lambda: server.ask("localhost", "/readyz")[0] == 200, "Stager isn't ready again")
        restarted = server.pid(CONTROL_PLANE)
        docker("kill", "--signal", "KILL", server.container(CONTROL_PLANE))
        server.compose("start", CONTROL_PLANE)
        wait_until(lambda: server.ask("localhost", "/readyz")[0] == 200, "Stager isn't ready after a SIGKILL")
    assert [visitor.failures for visitor in visitors] == [[]] * VISITORS
    assert all(visitor.requests > 50 for visitor in visitors)
    assert server.pid(FRONT) == front
    assert len({control_plane, restarted, server.pid(CONTROL_PLANE)}) == 3


def restart_the_front(server: ComposedServer, host: str) -> None:
    """As after a change of its settings."""
    front = server.pid(FRONT)
    server.typed(page_sample("install-with-docker.md", "docker compose restart front control-plane"))
    wait_until(lambda: server.ask(host, "/")[0] == 200, "the preview isn't served again")
    assert server.pid(FRONT) != front
