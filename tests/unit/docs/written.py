"""The commands of the how-to pages, and which tests run them as written."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.unit.docs.pages import DOCS, ROOT, Sample, samples

COMMANDS = ("bash", "console")
"""The languages of samples that a person types."""


def page_sample(page: str, start: str) -> str:
    """The sample of commands that begins with `start` on a page: a how-to, the README or the tutorial.

    `test_written.py` finds the calls of this by their arguments, which must be literals: each sample needs
    one.

    Raises:
        AssertionError: there is none, or there are several.
    """
    texts = [each.text for each in of_page(page)]
    found = [start] if start in texts else [text for text in texts if text.startswith(start)]
    assert len(found) == 1, f"{page} has {len(found)} samples that begin with {start!r}"
    return found[0]


def typed(sample: str) -> list[tuple[str, list[str]]]:
    """The commands of a sample in `console`, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in sample.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            assert found, f"no command above {line!r}"
            found[-1][1].append(line)
    return found


def of_page(page: str) -> list[Sample]:
    """The samples with commands of a how-to page, the README or the tutorial."""
    return [each for each in all_samples() if each.page.name == page]


def all_samples() -> list[Sample]:
    """The samples with commands of all these pages."""
    wanted = {ROOT / "README.md", DOCS / "tutorial.md", *(DOCS / "how-to").glob("*.md")}
    return [each for each in samples(*COMMANDS) if ROOT / each.page in wanted]


@dataclass(frozen=True, slots=True)
class Use:
    """A call of `page_sample`.

    Args:
        start: what its sample begins with.
        place: the test's file.
    """

    page: str
    start: str
    place: Path


@functools.cache
def uses() -> tuple[Use, ...]:
    """All calls of `page_sample` in the tests."""
    return tuple(_uses())


def _uses() -> Iterator[Use]:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text("utf-8")
        if re.search(r"\bpage_sample\(", text):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "page_sample":
                    yield _use(node, path)


def _use(node: ast.Call, path: Path) -> Use:
    values = [each.value for each in node.args if isinstance(each, ast.Constant)]
    assert len(values) == 2, f"{path}:{node.lineno}: page_sample() takes two literals"
    return Use(str(values[0]), str(values[1]), path.relative_to(ROOT))
