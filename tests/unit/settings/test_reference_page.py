"""The reference page: chapters in the order of tasks, each with an example that loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stager.settings.loading.loader import load
from stager.settings.model import TASKS, Settings
from stager.settings.plugins.available import built_in
from stager.settings.plugins.sections import model_for
from stager.settings.reference_page import fields_of, sections_of
from stager.settings.values.section import Task

EXAMPLES = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)


@EXAMPLES
def test_an_example_loads(task: type[Task], tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(task.example)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)", task.example), "a0value0of0some0length00")

    assert load(path, environ=environ).settings.images or "images" not in task.example


@EXAMPLES
def test_an_example_shows_each_section_of_its_chapter(task: type[Task]) -> None:
    shown = set(_paths(yaml.safe_load(task.example)))

    assert {path for path, _ in sections_of(task)} <= shown


@EXAMPLES
def test_an_example_uses_keys_of_its_chapter(task: type[Task]) -> None:
    keys = set(yaml.safe_load(task.example))

    assert keys & set(fields_of(task)) or task.nested


def test_each_key_belongs_to_one_chapter() -> None:
    keys = [key for task in TASKS for key in fields_of(task)]

    assert sorted(keys) == sorted(model_for(built_in()).model_fields)
    assert len(keys) == len(set(keys)) > len(Settings.model_fields)


def _paths(data: Any, path: str = "") -> list[str]:
    """The paths of all mappings and lists of an example, with `NAME` for the names of applications."""
    found = []
    for key, value in data.items() if isinstance(data, dict) else ():
        here = f"{path}NAME" if path.endswith(("images.", "services.")) else f"{path}{key}"
        found += [here, *_paths(value, f"{here}.")]
    return found
