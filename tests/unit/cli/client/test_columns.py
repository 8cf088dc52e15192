"""The list of previews in terminals of any width."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.cli.client.columns import MIN_CUT, Column, lines
from stager.cli.client.commands.previews import COLUMNS
from stager.cli.client.lifetime import age

URL = "http://feature-login-form.demo.example.org"
ROW = (
    "shop",
    "feature/login form",
    "live",
    "3d",
    "#7",
    "Add a login form",
    "ann",
    "36a93f3",
    "web, store",
    "dwhfetsycbfe",
    URL,
)


def headings(width: int) -> list[str]:
    return lines(COLUMNS, [ROW], width)[0].split()


def test_everything_is_shown_where_there_is_room() -> None:
    assert headings(200) == headings(0) == [column.heading for column in COLUMNS]


@pytest.mark.parametrize(
    ("width", "dropped"),
    [
        (142, {"ID"}),
        (130, {"ID", "SERVICES"}),
        (112, {"ID", "SERVICES", "COMMIT"}),
        (80, {"ID", "SERVICES", "COMMIT", "AUTHOR", "TITLE", "PR", "AGE"}),
        (70, {"ID", "SERVICES", "COMMIT", "AUTHOR", "TITLE", "PR", "AGE", "IMAGE"}),
    ],
)
def test_less_important_columns_are_dropped_first(width: int, dropped: set[str]) -> None:
    assert {column.heading for column in COLUMNS} - set(headings(width)) == dropped


@given(st.integers(1, 200))
def test_a_url_is_never_cut_or_wrapped(width: int) -> None:
    heading, row = lines(COLUMNS, [ROW], width)
    assert row.endswith(URL)
    assert heading.endswith("URL")
    assert len(row) <= max(width, len(URL) + len("STATE") + MIN_CUT + 4)


def test_a_long_name_is_cut_in_a_terminal_only() -> None:
    columns = (Column("NAME", can_shrink=True), Column("URL"))
    assert lines(columns, [("n" * 40, URL)], 60)[1] == f"{'n' * 15}…  {URL}"
    assert lines(columns, [("n" * 40, URL)])[1] == f"{'n' * 40}  {URL}"


def test_wide_characters_take_two_cells() -> None:
    columns = (Column("NAME", max_width=8), Column("URL"))
    assert lines(columns, [("日本語", "x"), ("日本語日本語", "y")], 80)[1:] == ["日本語    x", "日本語…   y"]


@pytest.mark.parametrize(
    ("since", "shown"),
    [
        ("2026-01-10T12:00:00Z", "0s"),
        ("2026-01-10T11:59:15+00:00", "45s"),
        ("2026-01-10T11:48:00Z", "12m"),
        ("2026-01-10T06:30:00Z", "5h"),
        ("2026-01-07T11:00:00Z", "3d"),
        ("2026-01-11T12:00:00Z", "0s"),
        ("", ""),
        ("2026-01-07", ""),
    ],
)
def test_an_age_has_one_unit(since: str, shown: str) -> None:
    assert age(since, datetime(2026, 1, 10, 12, tzinfo=UTC)) == shown
