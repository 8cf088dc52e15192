"""The architecture page: it names every package, its map names files that exist, its decisions are listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCS, ROOT, first_cells, headings, links, sections

SOURCE = ROOT / "src" / "stager"
ARCHITECTURE = DOCS / "architecture.md"
DECISIONS = DOCS / "decisions"
RECORDS = sorted(path for path in DECISIONS.glob("*.md") if path.name != "index.md")

QUESTIONS = {
    "the reconciler?": "reconciler",
    "the health check?": "health_check",
    "garbage collection?": "gc",
    "the reader of Compose files?": "compose",
    "capacity?": "capacity",
    "sleep and wake?": "power",
    "the login throttle?": "throttle",
    "image resolution?": "images",
    "comment commands?": "comment_commands",
    "the dashboard?": "dashboard",
    "a preview's page?": "preview",
    "nodes?": "nodes",
    "`/mcp`?": "mcp",
    "a failure's cause?": "failure",
    "the first run?": "setup",
    "why there is no preview?": "why",
    "the pull-request comment?": "pr_comment",
    "database access?": "sqlite",
    "the mapping of repository to application?": "repositories",
}
"""The questions of the map, each with the term by which an engineer guesses the file."""


def _files(text: str) -> list[str]:
    return re.findall(r"`([\w/]+\.py)`", text)


def test_every_package_is_described() -> None:
    text = sections(ARCHITECTURE)["Packages"]
    packages = {path.stem for path in SOURCE.iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert not {package for package in packages if not re.search(rf"`{package}`", text)}
    of_control = {path.stem for path in (SOURCE / "control").glob("[a-z]*")} - {"control_plane"}
    described = set(first_cells(sections(ARCHITECTURE, "###")["The control plane"]))
    assert not of_control - described


@pytest.mark.parametrize("page", [ARCHITECTURE, *RECORDS], ids=lambda path: path.name)
def test_each_file_that_is_named_exists(page: Path) -> None:
    assert not [file for file in _files(page.read_text("utf-8")) if not (SOURCE / file).is_file()]


def test_the_map_answers_its_questions_with_the_names_of_files() -> None:
    rows = re.findall(r"^\| (.*?\?) \| (.*) \|$", sections(ARCHITECTURE)["Where is ...?"], re.MULTILINE)
    answers = {question: _files(answer)[0] for question, answer in rows}
    assert answers.keys() == QUESTIONS.keys()
    assert not {file for question, file in answers.items() if QUESTIONS[question] not in file}


def test_the_tour_is_short() -> None:
    assert len(ARCHITECTURE.read_text("utf-8").split()) < 1_800


def test_the_index_lists_every_decision() -> None:
    assert links(DECISIONS / "index.md")[1:] == [path.name for path in RECORDS]


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_a_decision_has_its_number_and_its_three_sections(record: Path) -> None:
    title, *rest = headings(record)
    assert title.startswith(f"{int(record.name[:4])}. ")
    assert int(record.name[:4]) == RECORDS.index(record) + 1
    assert rest == ["Context", "Decision", "Consequences"]
