"""Who one is, and tokens."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import Served


def test_whoami(signed_in: Served, run: Run) -> None:
    assert run("whoami").stdout == "ann (by BasicAuthentication), administrator\n  shop: administrator\n"
    assert json.loads(run("whoami", "--json").stdout)["apps"] == {"shop": "administrator"}


def test_a_token_from_its_making_to_its_end(
    signed_in: Served, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("token", "list").stderr == "You have no tokens.\n"
    made = run("token", "create", "ci", "--role", "viewer", "--app", "shop", "--expires", "2h")
    secret = made.stdout.strip()
    assert (made.exit_code, secret[:7]) == (0, "stager_")
    listed = run("token", "list")
    assert listed.stdout.splitlines()[1].split()[1:4] == ["ci", "viewer", "shop"]
    assert secret not in listed.stdout

    monkeypatch.setenv("STAGER_TOKEN", secret)
    assert run("list").exit_code == 0
    assert run("launch", "shop", "x").exit_code == 4
    monkeypatch.delenv("STAGER_TOKEN")

    assert run("configure", "auth_strategy=Token").exit_code == 0
    assert run("login", "--stdin", stdin=f"{secret}\n").exit_code == 0
    assert run("whoami").stdout.startswith("ann ")
    assert run("logout").exit_code == 0
    assert run("configure", "auth_strategy=Basic").exit_code == 0

    id_ = json.loads(run("token", "list", "--json").stdout)[0]["id"]
    assert run("token", "revoke", id_).exit_code == 0
    assert run("token", "list").stdout == ""
    monkeypatch.setenv("STAGER_TOKEN", secret)
    assert run("list").exit_code == 3


@pytest.mark.parametrize("words", [["create", "ci", "--expires", "soon"], ["revoke", "../x"], ["create"]])
def test_what_makes_no_sense(signed_in: Served, run: Run, words: list[str]) -> None:
    assert run("token", *words).exit_code == 2
