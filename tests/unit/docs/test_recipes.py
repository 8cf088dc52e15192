"""The recipes show what Stager generates; `python -m tests.recipes` writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes import pages, with_part
from tests.unit.docs.pages import DOCS, links


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_its_example_and_dockerfile_are_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == with_part(text, page.stem), "run python -m tests.recipes"


def test_each_is_linked() -> None:
    linked = {Path(link).name for link in links(DOCS / "how-to" / "start-without-a-dockerfile.md")}
    assert {page.name for page in pages()} <= linked
