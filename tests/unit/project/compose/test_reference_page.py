"""The reference page of Compose files."""

from __future__ import annotations

from stager.project.compose.keys import SERVICE
from stager.project.compose.reference_page import TITLES, page
from tests.unit.docs.pages import DOCS


def test_it_is_up_to_date() -> None:
    shown = (DOCS / "reference" / "compose.md").read_text()
    assert shown == f"{page()}\n", (
        "run python -m stager.project.compose.reference_page > docs/reference/compose.md"
    )


def test_no_key_is_in_two_tables() -> None:
    for _, keys in TITLES:
        every = [*keys.supported, *keys.ignored, *keys.refused]
        assert len(every) == len(set(every)), keys.what


def test_each_key_of_a_service_is_listed() -> None:
    text = page()
    for key in (*SERVICE.supported, *SERVICE.ignored, *SERVICE.refused):
        assert f"`{key}`" in text
