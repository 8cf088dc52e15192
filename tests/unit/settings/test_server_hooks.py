"""The commands of an application that run on the server: what may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.domain.external import ServerHooks
from tests.unit.settings.conftest import LoadText, ProblemsOf


def hooks(load_text: LoadText, text: str, **environ: str) -> ServerHooks:
    loaded = load_text(f"images: {{shop: {{port: 80, server_hooks: {text}}}}}", **environ)
    return loaded.settings.applications.get("shop").server_hooks


def test_none_by_default(load_text: LoadText) -> None:
    assert not load_text("images: {shop: {port: 80}}").settings.applications.get("shop").server_hooks


def test_all_keys(load_text: LoadText, tmp_path: Path) -> None:
    text = "{before_launch: './db create ${SIZE}', before_kill: [./db, drop], timeout: 2m, forks: allow}"
    found = hooks(load_text, text, SIZE="2 big")

    assert found.before_launch[:2] == ("./db", "create")
    assert (found.before_kill, found.timeout, found.forks_allowed) == (("./db", "drop"), 120.0, True)
    assert Path(found.folder).is_absolute()


def test_the_folder_is_that_of_the_configuration(load_text: LoadText) -> None:
    own, below = (
        hooks(load_text, "{before_launch: ./db}"),
        hooks(load_text, "{before_launch: ./db, folder: scripts}"),
    )

    assert Path(below.folder) == Path(own.folder) / "scripts"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{before_launch: 'create | cat'}", "which only a shell understands"),
        ("{before_launch: ['']}", "should be a command with a program"),
        ("{before_start: ./db}", "unknown key"),
        ("{before_launch: ./db, timeout: 0}", "should be more than 0"),
        ("{before_launch: ./db, forks: yes}", 'should be "deny" or "allow"'),
        ("./db", "should be a mapping"),
    ],
)
def test_what_is_wrong(problems_of: ProblemsOf, text: str, said: str) -> None:
    [problem] = problems_of(f"images: {{shop: {{port: 80, server_hooks: {text}}}}}")

    assert said in str(problem)
