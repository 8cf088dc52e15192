"""A secret doesn't print itself, wherever it goes."""

from __future__ import annotations

import logging

import pytest

from stager.settings.values.secret import STARS, Secret
from tests.unit.settings.conftest import LoadText

HIDDEN = "hunter2"


@pytest.mark.parametrize("form", ["{}", "{!s}", "{!r}", "{!s:>20}"])
def test_it_shows_stars(form: str) -> None:
    assert form.format(Secret(HIDDEN)).strip() == STARS
    assert HIDDEN not in f"{[Secret(HIDDEN)]}"


def test_it_is_revealed_only_on_request() -> None:
    assert Secret(HIDDEN).reveal() == HIDDEN


def test_it_equals_its_like_alone() -> None:
    assert Secret("ä\ud800") == Secret("ä\ud800")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_it_is_false_when_empty() -> None:
    assert not Secret()
    assert Secret("0")


def test_settings_log_no_secret(load_text: LoadText, caplog: pytest.LogCaptureFixture) -> None:
    settings = load_text(
        f"users: ['joe:{HIDDEN}']\n"
        f"images: {{shop: {{port: 80, env: {{TOKEN: {HIDDEN}}}}}}}\n"
        f"github: {{incoming_auth: {{user: a, password: {HIDDEN}, hook_secret: {HIDDEN}}}}}\n"
    ).settings
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("settings: %s %r", settings, settings.model_dump())

    assert STARS in caplog.text
    assert HIDDEN not in caplog.text
    assert HIDDEN not in settings.model_dump_json()


def test_an_error_does_not_quote_it() -> None:
    with pytest.raises(ValueError, match=r"^should be text$"):
        Secret.read([HIDDEN])
