"""The changelog is sorted by kinds of changes."""

from __future__ import annotations

import re

from tests.unit.docs.pages import ROOT, sections

CHANGELOG = ROOT / "CHANGELOG.md"


def test_a_version_has_the_kinds_of_changes_in_order() -> None:
    for version, text in sections(CHANGELOG).items():
        kinds = re.findall(r"^### (.*)$", text, re.MULTILINE)
        assert kinds == [kind for kind in ("Added", "Changed", "Fixed", "Security") if kind in kinds], version


def test_no_entry_is_listed_twice() -> None:
    entries = re.findall(r"^- .*(?:\n  .*)*", CHANGELOG.read_text("utf-8"), re.MULTILINE)
    assert entries
    assert len(entries) == len(set(entries))
