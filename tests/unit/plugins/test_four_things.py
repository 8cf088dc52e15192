"""An extension point is four things: a base class with one sentence, a test, a heading in the docs with its
exact signature, and a real built-in. What `stager` offers is what plugins import, and loads nothing else."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import types

import pytest

import stager
from stager.ports.handlers import Handler
from stager.ports.plugins import KINDS, Kind, discover
from tests.unit.docs.pages import DOCS, headings, sections
from tests.unit.plugins import test_kinds

PAGE = DOCS / "reference" / "handlers.md"


@pytest.fixture(params=sorted(KINDS), name="kind")
def _kind(request: pytest.FixtureRequest) -> Kind:
    return request.param  # type: ignore[no-any-return]


def own(cls: type[Handler]) -> dict[str, types.FunctionType]:
    return {name: thing for name, thing in vars(cls).items() if inspect.isfunction(thing)}


def test_has_a_base_class_with_one_sentence_and_one_method_to_write(kind: Kind) -> None:
    base = KINDS[kind]
    about = " ".join((base.__doc__ or "").split())
    assert about.endswith(".")
    assert about.count(". ") == 0
    [method] = base.__abstractmethods__
    assert method in own(base)
    assert getattr(stager, base.__name__) is base


def test_has_a_test(kind: Kind) -> None:
    tests = getattr(test_kinds, f"Test{KINDS[kind].__name__}")
    assert any(name.startswith("test_") for name in vars(tests))


def test_has_a_heading_with_its_exact_signatures(kind: Kind) -> None:
    base = KINDS[kind]
    assert f"`{kind}`" in headings(PAGE)
    text = sections(PAGE)[f"`{kind}`"]
    described = text[text.index(f"### `{base.__name__}`") :]
    for name, method in own(base).items():
        assert f"def {name}{inspect.signature(method)}".replace("'", "") in described.replace("\n", "")


def test_has_a_real_built_in_that_is_described(kind: Kind) -> None:
    ours = discover(installed=False).of_kind(kind)
    assert ours
    for plugin in ours:
        row = next(row for row in sections(PAGE)[f"`{kind}`"].splitlines() if f"| `{plugin.name}` |" in row)
        assert not plugin.short_name or f"| `{plugin.short_name}` |" in row


def test_every_name_that_a_signature_needs_can_be_imported() -> None:
    for base in KINDS.values():
        for method in own(base).values():
            words = set(re.findall(r"[A-Z]\w+", str(inspect.signature(method))))
            assert words - {"Maybe", "None", "Mapping", "Sequence"} <= set(stager.__all__)


def test_what_is_offered_is_there() -> None:
    assert sorted(stager.__all__) == stager.__all__
    assert all(getattr(stager, name).__name__ for name in set(stager.__all__) - {"Command", "Decision"})
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        stager.Nothing  # noqa: B018


def test_a_plugins_imports_load_no_library_of_the_server() -> None:
    script = (
        "import sys, stager; loaded = 'stager.ports' in sys.modules;"
        "from stager import *; print(loaded, sorted(m for m in sys.modules if m.partition('.')[0] in"
        " {'pydantic', 'fastapi', 'aiohttp', 'structlog', 'sqlalchemy', 'yaml', 'uvicorn', 'apprise'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False []"
