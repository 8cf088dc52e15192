"""Where an application's previews may connect to."""

from __future__ import annotations

import pytest

from stager.domain.profile import Destination, Egress
from tests.unit.settings.conftest import LoadText, ProblemsOf


def test_an_application_overrides_the_defaults(load_text: LoadText) -> None:
    images = load_text(
        "defaults: {egress: internet, egress_allow: ['10.0.0.5:5432']}\n"
        "images:\n"
        "  shop: {port: 1}\n"
        "  open: {port: 1, egress: private}\n"
        "  kiosk: {port: 1, egress: none, egress_allow: ['db.example.org:53', '[fd00::5]:80']}\n"
        "  bare: {port: 1, egress_allow: []}\n"
    ).settings.images
    database = (Destination("10.0.0.5", 5432),)
    assert images["shop"].outbound == Egress("internet", database)
    assert images["open"].outbound == Egress("private", database)
    assert images["kiosk"].outbound == Egress(
        "none", (Destination("db.example.org", 53), Destination("fd00::5", 80))
    )
    assert images["bare"].outbound == Egress("internet", ())
    assert load_text("images: {shop: {port: 1}}").settings.images["shop"].outbound == Egress()


@pytest.mark.parametrize(
    "wrong", ["10.0.0.5", "10.0.0.5:0", "10.0.0.0/8:80", "a b:1", ":80", "10.0.0.5:99999", 80]
)
def test_what_is_no_destination(problems_of: ProblemsOf, wrong: object) -> None:
    [problem] = problems_of(f"images: {{shop: {{port: 1, egress_allow: [{wrong!r}]}}}}")
    assert "images.shop.egress_allow[0]" in problem or "egress_allow" in problem
    assert "host:port" in problem


@pytest.mark.parametrize("itself", ["127.0.0.1:80", "localhost:80", "[::1]:80", "127.9.9.9:80"])
def test_a_preview_reaches_itself_anyway(problems_of: ProblemsOf, itself: str) -> None:
    [problem] = problems_of(f"images: {{shop: {{port: 1, egress_allow: ['{itself}']}}}}")
    assert "is the preview itself" in problem


def test_it_stands_under_an_application(problems_of: ProblemsOf) -> None:
    [problem] = problems_of("egress_allow: ['10.0.0.5:5432']")
    assert "belongs under" in problem
    [problem] = problems_of("images: {shop: {port: 1, egress: everywhere}}")
    assert "private" in problem
    assert problems_of(f"images: {{shop: {{port: 1, egress_allow: {['10.0.0.5:1'] * 17}}}}}")


def test_a_repositorys_own_file_opens_nothing() -> None:
    from typing import get_args  # noqa: PLC0415

    from stager.settings.sections.applications import RepositoryKey  # noqa: PLC0415

    assert not {"egress", "egress_allow"} & set(get_args(RepositoryKey))
