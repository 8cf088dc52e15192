"""`stager haproxy config`."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.testing

from stager.cli import haproxy
from stager.cli.haproxy import haproxy_commands


def printed(*arguments: str) -> list[str]:
    done = typer.testing.CliRunner().invoke(haproxy_commands, ["config", *arguments])
    assert done.exit_code == 0, done.output
    return [line.strip() for line in done.output.splitlines()]


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "config.yml"
    file.write_text("domain: demo.example.org\nlisten: 0.0.0.0:8001\n")
    return str(file)


@pytest.mark.parametrize(("six", "address"), [(True, ":::80 v4v6"), (False, "*:80")])
def test_it_listens_on_port_80(config: str, monkeypatch: pytest.MonkeyPatch, six: bool, address: str) -> None:
    monkeypatch.setattr(haproxy, "has_ipv6", lambda: six)
    lines = printed("--config", config)
    assert [line for line in lines if line.startswith("bind")] == [f"bind {address}"]
    assert "server front 127.0.0.1:8001" in lines
    assert not [line for line in lines if "redirect" in line]


def test_with_a_certificate_it_redirects(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "has_ipv6", lambda: False)
    lines = printed("--config", config, "--certificate", "/x.pem")
    binds = [line for line in lines if line.startswith("bind")]
    assert binds == ["bind *:443 ssl crt /x.pem alpn h2,http/1.1", "bind *:80"]
    assert "http-request redirect scheme https code 308" in lines


def test_an_address_of_ones_own(config: str) -> None:
    lines = printed("--config", config, "--listen", "10.0.0.1:443,[::1]:443", "--certificate", "/x.pem")
    binds = [line for line in lines if line.startswith("bind")]
    assert binds == ["bind 10.0.0.1:443,[::1]:443 ssl crt /x.pem alpn h2,http/1.1"]


def test_a_configuration_with_errors(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text("lisen: 1\n")
    done = typer.testing.CliRunner().invoke(haproxy_commands, ["config", "--config", str(file)])
    assert done.exit_code == 1
