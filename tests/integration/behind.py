"""A Stager behind a real nginx: fixtures for whatever is reached that way."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.nginx import NginxUnderTest, running_nginx
from tests.integration.stager import StagerUnderTest, until
from tests.unit.front.harness import free_port

SHIPPED = Path(__file__).parents[2] / "src/stager/routers/nginx/templates/nginx.conf.erb"

Behind = Callable[..., StagerUnderTest]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[NginxUnderTest]:
    with running_nginx(tmp_path / "nginx") as nginx:
        yield nginx
        assert nginx.refuses() == "", "whatever happened, nginx can be started again"


@pytest.fixture
def behind(nginx: NginxUnderTest, make_stager: MakeStager) -> Behind:
    """Makes a Stager behind nginx: with a vhost file a preview, or, without `vhosts`, one server for all."""

    def make(
        *, vhosts: bool = True, form: str = "map", base: bool = True, **configuration: Any
    ) -> StagerUnderTest:
        given = {**nginx.settings, **configuration.pop("nginx", {})} if vhosts else {}
        if vhosts:
            given |= {"target_dir": str(nginx.sites), "template_path": "./request_handlers/nginx.conf.erb"}
        stager = make_stager(
            start=False,
            domain=f"localhost:{nginx.port}",
            routing_strategy="NginxRoutingStrategy",
            nginx=[{key: value} for key, value in given.items()] if form == "list" else given,
            ingress_ports=ports(),
            **configuration,
        )
        # The front's, which isn't the one in its URLs.
        stager.port = free_port()
        template = stager.folder / "request_handlers" / "nginx.conf.erb"
        template.parent.mkdir()
        template.write_text(SHIPPED.read_text().replace("listen 80;", f"listen 127.0.0.1:{nginx.port};"))
        stager.start()
        if base:
            add_base(stager, nginx)
        return stager

    return make


def ports() -> str:
    """A range of unused ports, below those that the system assigns."""
    for first in range(20000, 30000, 50):
        try:
            for port in range(first, first + 50):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return f"{first}-{first + 49}"
    raise AssertionError("no ports")


def add_base(stager: StagerUnderTest, nginx: NginxUnderTest) -> None:
    """What the documentation has an administrator do once."""
    command = [sys.executable, "-m", "stager", "nginx", "config", "--config", str(stager.config)]
    made = subprocess.run(
        [*command, "--listen", f"127.0.0.1:{nginx.port}"], capture_output=True, text=True, check=True
    )
    (nginx.sites / "default").write_text(made.stdout)
    nginx.reload()
    until(lambda: answers(f"http://localhost:{nginx.port}/healthz") == "200", "nginx has it")


def answers(url: str, *arguments: str) -> str:
    """The status of what curl gets; 000 without an answer."""
    done = subprocess.run(
        ["curl", "-s", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", *arguments, url],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout
