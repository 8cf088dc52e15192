"""A server, and the command as a person has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
import structlog
from keyring.backends.fail import Keyring
from typer.testing import CliRunner, Result

from stager.cli.main import app
from tests.unit.cli.client.served import Served, served

Run = Callable[..., Result]
OURS = (
    "STAGER_ENDPOINT",
    "STAGER_TOKEN",
    "STAGER_USERNAME",
    "STAGER_PASSWORD",
    "BROWSER",
    "DISPLAY",
    "WAYLAND_DISPLAY",
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's folder, in which there is nothing."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    # A keyring that a test defines would be taken for the system's own, and by this process alone.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    keyring.set_keyring(Keyring())  # type: ignore[no-untyped-call]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "stager"


@pytest.fixture
def server() -> Iterator[Served]:
    """A running Stager, which logs nothing: its log would be on the command's standard output."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with served() as stager:
        yield stager
    structlog.reset_defaults()


@pytest.fixture
def run() -> Run:
    """Runs `stager`, without a terminal."""

    def run(*words: str, stdin: str = "") -> Result:
        return CliRunner().invoke(app, list(words), input=stdin)

    return run


@pytest.fixture
def signed_in(server: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The server, at which the client is signed in as ann."""
    assert run("configure", f"endpoint={server.url}", "auth_strategy=Basic", "username=ann").exit_code == 0
    assert run("login", "--stdin", stdin="pa:ss\n").exit_code == 0
    return server
