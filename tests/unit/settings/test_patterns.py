"""Regular expressions of the configuration: no title makes them take long; unsupported ones are reported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import stager
from stager.settings.loading.refusals import InvalidValue
from stager.settings.values.patterns import Pattern
from tests.unit.settings.conftest import ProblemsOf

ADVICE = "without lookaround and backreferences"
MATCHERS = {"compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
MADE_OF_OUR_OWN = {
    "cli/up/variables.py": "re.escape of each name",
    "front/http/visitors.py": "re.escape of the names of programs, a table of ours",
    "helper/firewall/firewall.py": "forms of the helper's own command line, which root writes",
    "helper/data/storage.py": "the names of the pool's own folders",
    "helper/shapes.py": "forms of the verbs' fields",
    "helper/firewall/tables.py": "names of the helper's own chains",
    "domain/text.py": "re.escape of each word",
    "engines/docker/build/failure_causes.py": "alternatives of a table of ours",
    "project/frameworks/node_workspaces.py": "re.escape of each part, with few wildcards",
    "routers/haproxy/commands.py": "re.escape of the file",
    "routers/nginx/template.py": "the names of our variables",
    "routers/nginx/vhosts.py": "re.escape of the installation",
    "cli/swarm/invitation.py": "forms of the fields, a table of ours",
    "settings/sections/engine.py": "the form of a user, our own",
    "settings/sections/pictures.py": "a route's form, our own",
    "settings/values/scalars.py": "our own patterns put together",
}
"""Modules with a pattern that isn't written out in one piece, and what it is made of."""


@pytest.mark.parametrize(
    "text",
    [
        r"(?=a)b",
        "(?!WIP)",
        "(?<=a)b",
        "(?<!a)b",
        r"(a)\1",
        "(?P<x>a)(?P=x)",
        "(?>a)",
        "a++",
        "(",
        r"\Z",
        "a{2000}",
    ],
)
def test_what_the_engine_lacks_is_refused_with_the_pattern_and_the_place(
    problems_of: ProblemsOf, text: str
) -> None:
    for key in ("title", "without_title"):
        [found] = problems_of(f"images: {{shop: {{port: 80, pull_requests: {{{key}: '{text}'}}}}}}")
        assert found.startswith(f"images.shop.pull_requests.{key}: should be a regular expression of RE2")
        assert ADVICE in found
        assert text.replace("\\", "\\\\") in found


def test_one_that_needs_too_much_memory_is_refused() -> None:
    with pytest.raises(InvalidValue, match="too large"):
        Pattern(r"(\pL{1000})")


def test_two_of_the_same_text_are_the_same() -> None:
    assert Pattern("a") == Pattern("a") != Pattern("b")


def _composed() -> Iterator[str]:
    """The modules that give Python's engine something else than a text that is written there."""
    folder = Path(stager.__file__).parent
    for path in folder.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and _is_match(call) and not isinstance(call.args[0], ast.Constant):
                yield path.relative_to(folder).as_posix()


def _is_match(call: ast.Call) -> bool:
    called = call.func
    return (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and called.value.id == "re"
        and called.attr in MATCHERS
    )


def test_pythons_own_engine_matches_nothing_that_the_configuration_says() -> None:
    assert set(_composed()) == MADE_OF_OUR_OWN.keys()
