"""The security page's table of attacks lists what the tests try."""

from __future__ import annotations

from tests import attacks


def test_the_table_is_up_to_date() -> None:
    assert attacks.PAGE.read_text("utf-8") == attacks.page(), "run: python -m tests.attacks"


def test_no_attack_is_listed_twice() -> None:
    rows = [(attack.profile, attack.what) for attack in attacks.attacks()]
    assert len(set(rows)) == len(rows)
