"""The client's settings: what may be set, where it is stored, and that no secret is among it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stager.cli.client import settings
from stager.cli.client.api.errors import ClientError, Code
from tests.unit.cli.client.conftest import Run


@pytest.mark.requirement("R111", "R116", "X10")
def test_keys_are_kept_shown_and_removed(run: Run, home: Path) -> None:
    assert (
        run("configure", "endpoint=http://localhost:8000/", "auth_strategy=Basic", "username=a=b").exit_code
        == 0
    )
    assert run("configure", "verify_ssl=False").exit_code == 0
    shown = run("configure")
    assert shown.stdout.splitlines() == [
        "default (default):",
        "  auth_strategy=Basic",
        "  endpoint=http://localhost:8000",
        "  username=a=b",
        "  verify_ssl=false",
    ]
    assert run("configure", "username=", "verify_ssl").exit_code == 0
    assert json.loads(run("configure", "--json").stdout) == {
        "default": "default",
        "endpoints": {"default": {"auth_strategy": "Basic", "endpoint": "http://localhost:8000"}},
    }


def test_only_its_owner_may_read_the_file(run: Run, home: Path) -> None:
    run("configure", "endpoint=http://localhost:8000")
    file = home / "client.toml"
    assert (file.stat().st_mode & 0o777, home.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path.name for path in home.iterdir()] == ["client.toml"]
    file.chmod(0o644)
    run("configure")
    assert file.stat().st_mode & 0o777 == 0o600


def test_several_endpoints(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("configure", "endpoint=http://localhost:1")
    run("configure", "--endpoint", "work", "endpoint=https://demo.example.org", "verify_ssl=false")
    known = settings.load()
    assert known.endpoint("").url == "http://localhost:1"
    assert (known.endpoint("work").url, known.endpoint("work").verify_ssl) == (
        "https://demo.example.org",
        False,
    )
    assert known.endpoint("https://demo.example.org").name == "work"
    other = known.endpoint("https://other.example.org")
    assert (other.name, other.url, other.auth_strategy) == (other.url, "https://other.example.org", "")

    run("configure", "default=work")
    assert settings.load().endpoint("").name == "work"
    run("configure", "default=")
    assert settings.load().endpoint("").name == "default"
    with pytest.raises(ClientError) as error:
        known.endpoint("home")
    assert (error.value.code, error.value.hint) == (Code.USAGE, "The endpoints are: default, work.")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("endpoint=demo.example.org", "Did you mean https://demo.example.org?"),
        ("endpoint=https://ann:secret@demo.example.org", "contains credentials"),
        ("endpoint=https://", "isn't the URL of a server"),
        ("endpoint=https://demo.example.org/?x=1", "isn't the URL of a server"),
        ("endpoint=http://[::1", "isn't a URL"),
        ("endpoint=http://x:99999", "isn't a URL"),
        ("auth_strategy=Basics", "Did you mean Basic?"),
        ("verify_ssl=maybe", "verify_ssl must be true or false"),
        ("usrname=ann", "Did you mean username?"),
        ("password=secret", "password is a secret"),
        ("github_token=secret", "github_token is a secret"),
        ("default=home", 'There is no endpoint "home".'),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    run: Run, home: Path, change: str, says: str
) -> None:
    done = run("configure", "auth_strategy=Token", change)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "secret@" not in done.stderr
    assert not (home / "client.toml").exists()


def test_the_servers_name_of_a_strategy_will_do(run: Run) -> None:
    assert run("configure", "auth_strategy=BasicAuthentication").exit_code == 0


def test_a_file_that_cant_be_read_is_named(run: Run, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "client.toml").write_text("endpoints = [")
    done = run("list")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "client.toml: " in done.stderr


def test_http_is_warned_of_but_not_at_home(run: Run) -> None:
    assert "isn't encrypted" in run("configure", "endpoint=http://demo.example.org").stderr
    for local in ("http://localhost:1", "http://127.0.0.1", "http://[::1]:80", "http://demo.localhost:8000"):
        assert "isn't encrypted" not in run("configure", f"endpoint={local}").stderr
    assert "verify_ssl=false accepts any certificate" in run("configure", "verify_ssl=false").stderr


def test_without_any_endpoint(run: Run) -> None:
    done = run("list")
    assert done.exit_code == 2
    assert "stager configure endpoint=" in done.stderr
    assert "No endpoint is configured. Run: stager configure endpoint=" in run("configure").stderr
