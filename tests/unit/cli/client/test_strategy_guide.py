"""The page about strategies of one's own: its sample works, and its signatures are the real ones."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import httpx

import stager
from stager.cli.client.auth.secret_store import SecretStore
from stager.cli.client.auth.strategy import Account, AuthStrategy
from stager.cli.client.settings import Endpoint
from tests.unit.docs.pages import DOCS, samples, sections

PAGE = DOCS / "how-to" / "use-the-command-line.md"


def test_its_sample_works(tmp_path: Path) -> None:
    [sample] = [sample for sample in samples("python") if sample.page.name == PAGE.name]
    names: dict[str, type[AuthStrategy]] = {}
    exec(sample.text, names)
    endpoint = Endpoint("work", "https://demo.example.org", more={"team": "shop"})
    account = Account(endpoint, SecretStore(tmp_path / "secrets.json"), lambda *_, **__: httpx.Response(200))
    strategy = names["Gateway"](account)
    strategy.sign_in("k3y")
    expected: Mapping[str, str] = {"X-Gateway-Team": "shop", "X-Gateway-Key": "k3y"}
    assert strategy.headers() == expected


def test_every_signature_is_the_real_one() -> None:
    text = sections(PAGE, "###")["`AuthStrategy`"]
    for name, method in inspect.getmembers(AuthStrategy, inspect.isfunction):
        if not name.startswith("_"):
            signature = str(inspect.signature(method, eval_str=True)).replace("'", '"')
            shown = signature.replace("collections.abc.Mapping", "Mapping")
            assert f"def {name}{shown}" in text


def test_every_method_of_an_account_is_described() -> None:
    text = sections(PAGE, "###")["`Account`"]
    for name, method in inspect.getmembers(Account, inspect.isfunction):
        if not name.startswith("_"):
            arguments = list(inspect.signature(method).parameters)[1:]
            assert f"`{name}({arguments[0]}" in text


def test_what_the_page_imports_is_offered() -> None:
    assert (stager.AuthStrategy, stager.Account) == (AuthStrategy, Account)
