"""Finds the application object in a Python project, for the command of a WSGI or ASGI server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from stager.project.tree import Tree

MOST_MODULES, MOST_TEXT = 300, 1 << 22
"""Python files that are searched, and the characters of all of them."""

_PREFERRED = ("wsgi", "asgi", "app", "main", "application", "server", "run", "api", "__init__")
_NOT_APPLICATIONS = frozenset({"test", "tests", "docs", "examples", "scripts", "migrations", "alembic"})
_MADE = re.compile(
    r"^([A-Za-z_]\w*)(?:[ \t]*:[ \t]*[\w.]+)?[ \t]*=[ \t]*(?:\w+\.)*(\w+)\(", re.MULTILINE | re.ASCII
)
_CALLED = re.compile(
    r"^(app|application|asgi_app|wsgi_app)[ \t]*=[ \t]*[\w.]{0,80}(?:app|application)\w{0,80}\(",
    re.MULTILINE | re.ASCII,
)
_FACTORY = re.compile(
    r"^(?:async )?def (create_app|make_app|build_app|get_app)\((?:\)|\w{1,40}[^)\n]{0,200}=)", re.MULTILINE
)
_IMPORT = re.compile(r"^(?:from|import) ([A-Za-z_]\w*)", re.MULTILINE | re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """An application object.

    Args:
        module: its module, such as `shop.app`.
        name: its variable, or its factory.
        is_factory: whether it is called first.
        folder: the folder from which the module is imported, relative to the project; `.` for the project's.
        path: its file.
    """

    module: str
    name: str
    is_factory: bool
    folder: str
    path: str


def find_target(tree: Tree, *kinds: str) -> Target | None:
    """Return the application object made with one of these classes, such as `Flask`; None for none."""
    modules = list(_texts(tree))
    for pattern, is_factory in ((_MADE, False), (_CALLED, False), (_FACTORY, True)):
        for path, text in modules:
            for found in pattern.finditer(text):
                if pattern is not _MADE or found[2] in kinds:
                    return _target(tree, path, text, found[1], is_factory)
    return None


def _texts(tree: Tree) -> Iterator[tuple[str, str]]:
    left = MOST_TEXT
    for path in islice(_modules(tree), MOST_MODULES):
        text = tree.text(path)
        left -= len(text)
        if left < 0:
            return
        yield path, text


def _modules(tree: Tree) -> Iterator[str]:
    def rank(path: str) -> tuple[int, int, str]:
        name = path.rpartition("/")[2].removesuffix(".py")
        usual = _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED)
        return path.count("/"), usual, path

    found = (path for path in tree.matching("*.py") if _is_module(path))
    return iter(sorted(found, key=rank))


def _is_module(path: str) -> bool:
    parts = path.removesuffix(".py").split("/")
    is_test = parts[-1].startswith("test_") or parts[-1] in ("conftest", "setup")
    named = all(_IDENTIFIER.fullmatch(part) for part in parts)
    return named and not is_test and len(parts) <= 4 and not _NOT_APPLICATIONS.intersection(parts)


def _target(tree: Tree, path: str, text: str, name: str, is_factory: bool) -> Target:
    folder = _import_folder(tree, path, text)
    inner = path if folder == "." else path.removeprefix(f"{folder}/")
    module = inner.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return Target(module, name, is_factory, folder, path)


def _import_folder(tree: Tree, path: str, text: str) -> str:
    """The folder on Python's path: where most of the module's imports are found; else `src` of that layout,
    and the project's folder otherwise."""
    parts = path.split("/")[:-1]
    if path.endswith("/__init__.py"):
        parts = parts[:-1]
    folders = [".", *("/".join(parts[: n + 1]) for n in range(len(parts)))]
    names = set(_IMPORT.findall(text))
    hits = {folder: sum(_is_importable(tree, folder, name) for name in names) for folder in folders}
    best = max(folders, key=lambda folder: hits[folder])
    if hits[best] == 0 or hits[best] == hits["."]:
        return "src" if parts[:1] == ["src"] and hits["."] == 0 and not tree.has("src/__init__.py") else "."
    return best


def _is_importable(tree: Tree, folder: str, name: str) -> bool:
    return tree.has(f"{folder}/{name}.py") or tree.has_folder(f"{folder}/{name}")
