"""The README begins with what Stager is, two commands, a picture, and the set-up."""

from __future__ import annotations

import pytest

from tests.unit.docs.pages import ROOT, headings, sections

README = ROOT / "README.md"


@pytest.mark.requirement("R21", "R23")
def test_has_the_sections_of_the_walkthrough() -> None:
    assert {"Prerequisites", "Quick Setup", "Licence"} <= set(headings(README))
    assert "apt-get install" in sections(README)["Prerequisites"]
    assert "curl http://localhost:8000/" in sections(README)["Quick Setup"]


def test_begins_with_its_two_commands_and_a_picture() -> None:
    opening = README.read_text().partition("## Prerequisites")[0]
    paragraph, commands, rest = opening.partition("```bash\n")
    assert paragraph.count("\n\n") <= 3
    assert commands
    assert [line.split()[0] for line in rest.partition("```")[0].splitlines()] == [
        "scripts/demo",
        "scripts/test",
    ]
    assert "](docs/images/demo.gif)" in rest


def test_its_commands_exist() -> None:
    for command in ("scripts/demo", "scripts/test", "scripts/setup"):
        assert (ROOT / command).stat().st_mode & 0o111
    assert (ROOT / "requirements" / "server.txt").is_file()


@pytest.mark.requirement("R124")
def test_warns_about_public_repositories() -> None:
    assert "public repository" in sections(README)["Caution"]
