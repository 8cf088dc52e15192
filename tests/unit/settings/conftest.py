"""Loading a configuration from text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stager.settings.loading.loader import Loaded, load
from stager.settings.loading.problems import ConfigurationError

LoadText = Callable[..., Loaded]
ProblemsOf = Callable[..., list[str]]


@dataclass(frozen=True)
class Answer:
    """What `stager config check` writes about a configuration, line by line."""

    problems: list[str]
    warnings: list[str]


LinesOf = Callable[..., Answer]


@pytest.fixture
def load_text(tmp_path: Path) -> LoadText:
    """Load this text as `config.yml`, with these environment variables."""

    def load_it(text: str, **environ: str) -> Loaded:
        path = tmp_path / "config.yml"
        path.write_text(text, "utf-8")
        return load(path, environ=environ)

    return load_it


@pytest.fixture
def problems_of(load_text: LoadText) -> ProblemsOf:
    """What is wrong with this text, as people read it, without the line."""

    def find(text: str, **environ: str) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            load_text(text, **environ)
        return [str(replace(problem, line=0)) for problem in caught.value.problems]

    return find


@pytest.fixture
def lines_of(load_text: LoadText) -> LinesOf:
    """The problems or the warnings of this text, with their lines."""

    def find(text: str, **environ: str) -> Answer:
        try:
            return Answer([], list(load_text(text, **environ).warnings))
        except ConfigurationError as error:
            return Answer([str(problem) for problem in error.problems], [])

    return find
