"""Every link of the documentation has a target, and the index lists every page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCS, ROOT, anchors, links, pages

OUTSIDE = ("https://", "http://", "mailto:")


def _inside() -> list[tuple[Path, str]]:
    return [(page, link) for page in pages() for link in links(page) if not link.startswith(OUTSIDE)]


@pytest.mark.parametrize(("page", "link"), _inside(), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_has_a_target(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.is_relative_to(ROOT)
    assert target.is_file()
    if anchor:
        assert anchor in anchors(target)


def _listed(index: Path) -> set[Path]:
    return {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}


def test_the_index_lists_every_page() -> None:
    of_decisions = DOCS / "decisions" / "index.md"
    listed = _listed(DOCS / "index.md") | _listed(of_decisions)
    assert of_decisions in listed
    assert listed == {page for page in pages() if page.is_relative_to(DOCS)} - {DOCS / "index.md"}


def test_pictures_are_small() -> None:
    pictures = list((DOCS / "images").iterdir())
    assert pictures
    assert all(picture.stat().st_size < 300_000 for picture in pictures)
