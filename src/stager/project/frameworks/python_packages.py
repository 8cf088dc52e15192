"""Python's package managers: what a project depends on, and the instructions that install it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stager.project.frameworks.text import is_safe_path
from stager.project.tree import Tree

DEFAULT_PYTHON = "3.12"
OLDEST_PYTHON = 9
"""The oldest minor version of Python 3 with a public image that is still built."""

COMPILED = frozenset(
    {"psycopg2", "mysqlclient", "uwsgi", "pycurl", "python-ldap", "pyodbc", "gevent", "xmlsec", "psycopg-c"}
)
"""Packages that are compiled when they are installed, which the slim image can't."""

_PIP_CACHE = "RUN --mount=type=cache,target=/root/.cache/pip"
_REQUIREMENTS = ("requirements.txt", "requirements/production.txt", "requirements/prod.txt",
                 "requirements/base.txt")  # fmt: skip
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_INCLUDED = re.compile(r"^[ \t]*(?:-r|--requirement)[ =]*([\w./-]+)", re.MULTILINE)
_LOCAL = re.compile(
    r"^[ \t]*(?:-[rce]|--requirement|--constraint|--editable|\.|\S+[ \t]*@[ \t]*file:)", re.MULTILINE
)
_MINOR = re.compile(r"3\.(\d{1,2})(?!\d)")
_DEPENDENCIES = (
    'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"].get("dependencies", []),'
    ' sep="\\n")'
)


@dataclass(frozen=True, slots=True)
class PythonPackages:
    """What a Python project depends on.

    Args:
        manager: `pip`, `uv`, `poetry` or `pipenv`.
        names: the normalized names of its dependencies, as far as its files name them.
        file: the file that names them.
        has_local: whether installing needs the project's other files.
        python: the version of Python.
    """

    manager: str
    names: frozenset[str]
    file: str
    has_local: bool
    python: str

    @property
    def base(self) -> str:
        """The public base image."""
        return f"python:{self.python}{'' if self.names & COMPILED else '-slim'}"


def read_packages(tree: Tree) -> PythonPackages | None:
    """Return what the project depends on; None if no file says so."""
    project = _toml(tree.text("pyproject.toml"))
    requirements = next((path for path in _REQUIREMENTS if tree.has(path)), "")
    manager, file = _manager(tree, project, requirements)
    if not file:
        return None
    names = frozenset(map(_normalized, _names(tree, project, requirements)))
    has_local = bool(_LOCAL.search(tree.text(file))) if manager == "pip" else _has_local(project)
    return PythonPackages(manager, names, file, has_local, _python(tree, project))


def install(packages: PythonPackages, extra: Iterable[str]) -> list[str]:
    """Return the instructions that install the dependencies into `/opt/venv` and copy the project to `/app`.

    Args:
        extra: packages of ours that the project doesn't name, such as a server.
    """
    copied = ["COPY --chown=1000:1000 . ."]
    steps = {"pip": _pip, "uv": _uv, "poetry": _poetry, "pipenv": _pipenv}[packages.manager](packages)
    added = f"{_PIP_CACHE} pip install {' '.join(sorted(extra))}"
    if packages.manager == "uv":
        added = f"RUN {_UV} pip install {' '.join(sorted(extra))}"
    installed = [*steps, *([added] if extra else [])]
    if packages.has_local:
        return copied + [step for step in installed if not step.startswith("COPY ")]
    return installed + copied


def _pip(packages: PythonPackages) -> list[str]:
    if packages.file == "pyproject.toml":
        listed = f"python -c '{_DEPENDENCIES}' > /tmp/requirements.txt"
        return ["COPY pyproject.toml ./", f"{_PIP_CACHE} {listed} && pip install -r /tmp/requirements.txt"]
    target = packages.file if "/" in packages.file else "./"
    return [f"COPY {packages.file} {target}", f"{_PIP_CACHE} pip install -r {packages.file}"]


_UV = "/opt/uv/bin/uv"


def _uv(_packages: PythonPackages) -> list[str]:
    return [
        f"{_PIP_CACHE} python3 -m venv /opt/uv && /opt/uv/bin/pip install uv",
        "ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never",
        "COPY pyproject.toml uv.lock ./",
        f"RUN --mount=type=cache,target=/root/.cache/uv {_UV} sync --frozen --no-dev --no-install-project",
    ]


def _poetry(_packages: PythonPackages) -> list[str]:
    return [
        f"{_PIP_CACHE} python3 -m venv /opt/poetry && /opt/poetry/bin/pip install poetry",
        "COPY pyproject.toml poetry.lock ./",
        "RUN --mount=type=cache,target=/root/.cache/pypoetry "
        "/opt/poetry/bin/poetry install --no-interaction --only main --no-root",
    ]


def _pipenv(_packages: PythonPackages) -> list[str]:
    return [
        f"{_PIP_CACHE} python3 -m venv /opt/pipenv && /opt/pipenv/bin/pip install pipenv",
        "COPY Pipfile Pipfile.lock ./",
        f"{_PIP_CACHE} /opt/pipenv/bin/pipenv requirements > /tmp/requirements.txt "
        "&& pip install -r /tmp/requirements.txt",
    ]


def _manager(tree: Tree, project: dict[str, Any], requirements: str) -> tuple[str, str]:
    """The package manager, and the file that names the dependencies; both empty for none."""
    if tree.has("uv.lock") and project:
        return "uv", "uv.lock"
    if tree.has("poetry.lock") and project:
        return "poetry", "poetry.lock"
    if requirements:
        return "pip", requirements
    if tree.has("Pipfile.lock") and tree.has("Pipfile"):
        return "pipenv", "Pipfile.lock"
    return ("pip", "pyproject.toml") if isinstance(project.get("project"), dict) else ("", "")


def _has_local(project: dict[str, Any]) -> bool:
    uv = _table(_table(project, "tool"), "uv")
    sources = _table(uv, "sources").values()
    is_local = any(isinstance(each, dict) and ("path" in each or "workspace" in each) for each in sources)
    return "workspace" in uv or is_local


def _names(tree: Tree, project: dict[str, Any], requirements: str) -> Iterator[str]:
    yield from _required(tree, requirements, set())
    tool = _table(project, "tool")
    groups = [_table(project, "project").get("dependencies"), _table(tool, "uv").get("dependencies")]
    for group in groups:
        yield from (word for word in group if isinstance(word, str)) if isinstance(group, list) else ()
    yield from _table(_table(tool, "poetry"), "dependencies")
    yield from _table(_toml(tree.text("Pipfile")), "packages")


def _required(tree: Tree, path: str, seen: set[str]) -> Iterator[str]:
    """The lines of a requirements file and of those that it includes."""
    if not path or path in seen or len(seen) > 10:
        return
    seen.add(path)
    text = tree.text(path)
    yield from text.splitlines()
    for included in _INCLUDED.findall(text):
        beside = f"{path.rpartition('/')[0]}/{included}".lstrip("/")
        yield from _required(tree, beside if is_safe_path(beside) else "", seen)


def _normalized(requirement: str) -> str:
    """The name in a requirement, normalized (PEP 503); empty for options and comments."""
    found = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


def _python(tree: Tree, project: dict[str, Any]) -> str:
    poetry = _table(_table(_table(project, "tool"), "poetry"), "dependencies").get("python")
    pipfile = _table(_toml(tree.text("Pipfile")), "requires").get("python_version")
    exact = (tree.text(".python-version"), tree.text("runtime.txt"), pipfile)
    for text in exact:
        found = _MINOR.search(str(text or ""))
        if found and int(found[1]) >= OLDEST_PYTHON:
            return f"3.{found[1]}"
    return _satisfying(str(_table(project, "project").get("requires-python") or poetry or ""))


def _satisfying(specifier: str) -> str:
    """A version for `requires-python`: the default one where it is allowed, else the next allowed one."""
    default = int(DEFAULT_PYTHON.partition(".")[2])
    lowest, highest = OLDEST_PYTHON, default + 2
    for operator, _, minor in re.findall(r"(>=|<=|<|>|==|~=|\^|~|!=)\s*(3)\.(\d{1,2})", specifier[:200]):
        number = int(minor)
        if operator in (">=", "^", "~="):
            lowest = max(lowest, number)
        elif operator in ("==", "~"):
            lowest = highest = number
        elif operator == "<":
            highest = min(highest, number - 1)
        elif operator == "<=":
            highest = min(highest, number)
    return f"3.{max(min(default, highest), lowest)}"


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return {}


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}
