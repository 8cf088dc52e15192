"""`stager service`, where it must change nothing."""

from __future__ import annotations

import os
import socket

import pytest
from typer.testing import CliRunner

from stager.cli import service

RUNNER = CliRunner()


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_needs_root(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = RUNNER.invoke(service.service_commands, [command])
    assert done.exit_code == 1
    assert "This needs root. Run: sudo " in done.stderr
    assert done.stderr.rstrip().endswith(f"/stager service {command}")


def test_takes_the_first_free_port() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken, socket.socket() as free:
        free.bind(("0.0.0.0", 0))
        wanted = free.getsockname()[1]
        free.close()
        assert service._free_port((taken.getsockname()[1], wanted)) == wanted
