"""Procfile and variables."""

from __future__ import annotations

import json

import pytest

from stager.project.procfile import read_procfile
from stager.project.variables import parse_env, read_variables
from tests.unit.project.conftest import MakeTree


def test_a_procfile(tree: MakeTree) -> None:
    found = tree({"Procfile": "# a comment\nweb: gunicorn a:b --bind 0.0.0.0:$PORT\nrelease:x\nbroken\n"})
    assert read_procfile(found) == {"web": "gunicorn a:b --bind 0.0.0.0:$PORT", "release": "x"}


def test_variables_of_app_json_and_a_sample(tree: MakeTree) -> None:
    env = {
        "SECRET_KEY": {"generator": "secret"},
        "THEME": "dark",
        "LEVEL": {"value": 3, "required": False},
        "KEY": {"description": "from the shop"},
        "MAY": {"required": False},
        "not valid": "x",
    }
    sample = "THEME=light\nDATABASE_URL=\nDEBUG='1' # on\n"
    found = read_variables(tree({"app.json": json.dumps({"env": env}), ".env.example": sample}))
    shown = {each.name: (each.value, each.source, each.required, each.generated) for each in found}
    assert shown == {
        "THEME": ("dark", "app.json", False, False),
        "DATABASE_URL": ("", ".env.example", True, False),
        "DEBUG": ("1", ".env.example", False, False),
        "SECRET_KEY": ("", "app.json", False, True),
        "LEVEL": ("3", "app.json", False, False),
        "KEY": ("", "app.json", True, False),
        "MAY": ("", "app.json", False, False),
    }
    assert [each.name for each in found if each.is_secret] == ["SECRET_KEY"]


@pytest.mark.parametrize("text", ["{", "[]", '{"env": []}', "[" * 100_000, '{"env": {"A": []}}'])
def test_a_broken_app_json(tree: MakeTree, text: str) -> None:
    assert [each.value for each in read_variables(tree({"app.json": text}))] in ([], [""])


def test_an_env_file() -> None:
    text = """\
# comment
export A=1
B = "x y\\n" # note
C='$A # no comment'
D=a#b # note
E=#empty
F="unclosed
9=no
"""
    values = {"A": "1", "B": "x y\n", "C": "$A # no comment", "D": "a#b", "E": "", "F": '"unclosed'}
    assert parse_env(text) == values
