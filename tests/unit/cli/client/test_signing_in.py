"""Signing in: what is stored, and that other users can't read it."""

from __future__ import annotations

from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from stager.cli.client.auth import secret_store
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import Served


class MemoryKeyring(KeyringBackend):
    """A real one, as far as anybody can tell."""

    priority = 5

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.broken = False

    def get_password(self, service: str, username: str) -> str | None:
        self._check()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._check()
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]

    def _check(self) -> None:
        if self.broken:
            raise keyring.errors.KeyringLocked("nobody unlocks it")


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> MemoryKeyring:
    ring = MemoryKeyring()
    monkeypatch.setattr(keyring, "get_keyring", lambda: ring)
    return ring


def configure(run: Run, server: Served, *more: str) -> None:
    assert run("configure", f"endpoint={server.url}", *more).exit_code == 0


def test_a_keyring_is_used_where_there_is_one(
    server: Served, run: Run, home: Path, ring: MemoryKeyring
) -> None:
    configure(run, server, "username=ann")
    done = run("login", "--stdin", stdin="pa:ss\n")
    assert (done.exit_code, done.stderr) == (0, f"Signed in to {server.url}.\n")
    assert ring.kept == {("stager", f"{server.url} ann"): "pa:ss"}
    assert [path.name for path in home.iterdir()] == ["client.toml"]
    assert run("list").exit_code == 0
    assert run("logout").exit_code == 0
    assert ring.kept == {}
    assert run("list").exit_code == 3
    assert run("logout").stderr == "No credentials were stored.\n"


def test_a_keyring_that_is_locked_is_got_round(
    server: Served, run: Run, home: Path, ring: MemoryKeyring
) -> None:
    ring.broken = True
    configure(run, server, "username=ann")
    done = run("login", "--stdin", stdin="pa:ss\n")
    assert done.exit_code == 0
    assert "secrets.json instead, readable only by you." in done.stderr
    assert (home / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert run("list").exit_code == 0
    assert run("logout").exit_code == 0
    assert not (home / "secrets.json").exists()


def named(module: str) -> object:
    return type("Keyring", (), {"__module__": module})()


@pytest.mark.parametrize(
    ("backend", "is_real"),
    [
        (named("keyring.backends.fail"), False),
        (named("keyring.backends.null"), False),
        (named("keyrings.alt.file"), False),
        (named("keyring.backends.SecretService"), True),
        (named("keyring.backends.macOS"), True),
    ],
)
def test_a_keyring_that_keeps_nothing_secret_is_none(backend: object, is_real: bool) -> None:
    assert secret_store.is_real(backend) == is_real


def test_of_several_keyrings_the_first_real_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    unsafe, real = named("keyrings.alt.file"), MemoryKeyring()
    chain = type("Chain", (), {"backends": [unsafe, real]})()
    monkeypatch.setattr(keyring, "get_keyring", lambda: chain)
    assert secret_store.system_keyring() is real
    chain.backends.pop()
    assert secret_store.system_keyring() is None


def test_what_is_refused_isnt_kept(server: Served, run: Run, home: Path) -> None:
    configure(run, server, "username=ann")
    done = run("login", "--stdin", stdin="wrong\n")
    assert done.exit_code == 3
    assert "wrong" not in done.stderr + done.stdout
    assert not (home / "secrets.json").exists()


def test_another_server_of_the_same_name_gets_nothing(signed_in: Served, run: Run) -> None:
    """Only the URL counts, under which the secret was stored."""
    assert run("list").exit_code == 0
    other = signed_in.url.replace("localhost", "127.0.0.1")
    assert run("configure", f"endpoint={other}").exit_code == 0
    done = run("list")
    assert done.exit_code == 3
    assert "there is no terminal to ask for them" in done.stderr


def test_variables_go_before_what_is_kept(
    signed_in: Served, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGER_USERNAME", "bob")
    monkeypatch.setenv("STAGER_PASSWORD", "secret")
    refused = run("launch", "shop", "x")
    assert (refused.exit_code, refused.stdout) == (4, "")
    monkeypatch.setenv("STAGER_TOKEN", "stager_nonsense")
    assert run("list").exit_code == 3


def test_nothing_needs_to_be_configured(
    server: Served, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in CI."""
    monkeypatch.setenv("STAGER_ENDPOINT", server.url)
    monkeypatch.setenv("STAGER_USERNAME", "ann")
    monkeypatch.setenv("STAGER_PASSWORD", "pa:ss")
    assert run("launch", "shop", "x").exit_code == 0
    assert not home.exists()


def test_secrets_are_never_printed(signed_in: Served, run: Run) -> None:
    for words in (["configure"], ["configure", "--json"], ["list", "--json"], ["login"], ["logout"]):
        done = run(*words)
        assert "pa:ss" not in done.stdout + done.stderr


class TestStrategyOfYourOwn:
    @pytest.mark.requirement("R114")
    def test_that_lies_in_the_folder(self, server: Served, run: Run, home: Path) -> None:
        folder = home / "auth_strategies"
        folder.mkdir(parents=True)
        (folder / "gateway.py").write_text(GATEWAY)
        configure(run, server, "auth_strategy=Gateway", "team=ann")
        assert run("list").exit_code == 3
        assert run("login", "--stdin", stdin="cGE6c3M=\n").exit_code == 0
        assert run("list").exit_code == 0
        assert run("configure", "colour=red").exit_code == 2

    def test_that_is_broken_is_named(self, run: Run, home: Path) -> None:
        folder = home / "auth_strategies"
        folder.mkdir(parents=True)
        (folder / "broken.py").write_text("1 / 0")
        done = run("configure", "auth_strategy=Broken")
        assert done.exit_code == 2
        assert "broken.py: ZeroDivisionError" in done.stderr
        assert run("configure", "auth_strategy=Basic").exit_code == 0  # ours need none of theirs


GATEWAY = '''
import base64
from stager import AuthStrategy

class Gateway(AuthStrategy):
    """Signs in at the gateway."""

    keys = {"team": "The team."}

    def headers(self):
        key = self.account.secret("key") or self.account.ask("Key", hidden=True)
        pair = self.account.setting("team").encode() + b":" + base64.b64decode(key)
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}

    def sign_in(self, secret=""):
        self.account.save_secret("key", secret or self.account.ask("Key", hidden=True))
'''
