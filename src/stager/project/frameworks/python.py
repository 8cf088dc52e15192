"""Python: Django, Flask, FastAPI, Streamlit, MkDocs, and what a Procfile starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stager.project.detected import Detected
from stager.project.frameworks.python_modules import Target, find_target
from stager.project.frameworks.python_packages import PythonPackages, install, read_packages
from stager.project.frameworks.text import (
    STATIC_BASE,
    STATIC_COMMAND,
    STATIC_PORT,
    dockerfile,
    is_safe_path,
    quoted,
    running,
    static_site,
    with_port,
)
from stager.project.procfile import RELEASE, WEB, read_procfile
from stager.project.tree import Tree

PORT = 8000
_SETTINGS = re.compile(r"""DJANGO_SETTINGS_MODULE["']\s*,\s*["']([A-Za-z_][\w.]*)["']""", re.ASCII)
_WSGI = ("Flask", "Bottle", "Quart")
_ASGI = ("FastAPI", "Starlette", "Litestar", "Sanic")
_SCRIPTS = ("main.py", "app.py", "server.py", "run.py")


@dataclass(frozen=True, slots=True)
class _Start:
    """How a framework's application starts.

    Args:
        command: a line of shell.
        before: lines to run before it.
        server: the package that has the command; empty for none.
        folder: the folder on Python's path.
        build: further instructions.
    """

    framework: str
    command: str
    why: str
    before: tuple[str, ...] = ()
    server: str = ""
    folder: str = "."
    build: tuple[str, ...] = ()
    port: int = PORT
    health_path: str = ""


def detect(tree: Tree) -> Detected | None:
    """Return the Python application of a folder; None for none."""
    packages = read_packages(tree)
    if tree.has("mkdocs.yml"):
        return _mkdocs(tree, packages)
    if packages is None:
        return None
    start = _django(tree) or _asgi(tree, packages) or _wsgi(tree, packages) or _streamlit(tree, packages)
    procfile = read_procfile(tree)
    if WEB in procfile:
        start = _by_procfile(procfile, start)
    start = start or _script(tree)
    return _detected(packages, start) if start else None


def _detected(packages: PythonPackages, start: _Start) -> Detected:
    command = with_port(start.command, start.port, *start.before)
    extra = {start.server} - packages.names - {""}
    path = "" if start.folder == "." else f" PYTHONPATH=/app/{start.folder}"
    text = dockerfile(
        start.framework,
        packages.manager,
        (f"ARG PYTHON_BASE={packages.base}", "FROM ${PYTHON_BASE}"),
        (
            "RUN python3 -m venv /opt/venv && mkdir -p /app && chown 1000:1000 /app",
            f"ENV PATH=/opt/venv/bin:$PATH VIRTUAL_ENV=/opt/venv PYTHONUNBUFFERED=1{path}",
            "WORKDIR /app",
            *install(packages, extra),
            *start.build,
        ),
        ("ENV HOME=/tmp", *running(command, start.port)),
    )
    note = f"{start.server} isn't among the dependencies; the generated Dockerfile installs it."
    return Detected(
        framework=start.framework,
        package_manager=packages.manager,
        port=start.port,
        command=command,
        dockerfile=text,
        why=(f"{packages.file} has the dependencies.", start.why),
        bases={"PYTHON_BASE": packages.base},
        health_path=start.health_path,
        notes=(note,) if extra else (),
    )


def _django(tree: Tree) -> _Start | None:
    manage = next(
        (path for path in tree.matching("manage.py") if path.count("/") < 2 and is_safe_path(path)), ""
    )
    settings = _SETTINGS.search(tree.text(manage)) if manage else None
    if settings is None:
        return None
    folder = manage.rpartition("/")[0] or "."
    package = settings[1].partition(".")[0]
    change = "" if folder == "." else f"--chdir {folder} "
    build: tuple[str, ...] = ()
    if _collects(tree, folder, settings[1]):
        build = (
            f"RUN SECRET_KEY=build python {manage} collectstatic --noinput"
            ' || echo "collectstatic failed; static files may be missing"',
        )
    return _Start(
        "Django",
        f'gunicorn --bind "0.0.0.0:$PORT" {change}{_wsgi_module(tree, folder, package)}',
        f"{manage} names Django's settings.",
        before=(f"python {manage} migrate --noinput",),
        server="gunicorn",
        build=build,
    )


def _wsgi_module(tree: Tree, folder: str, package: str) -> str:
    """The module with the WSGI application: beside the settings, or in a package with that name."""
    found = (package, *(path.split("/")[-2] for path in tree.matching("wsgi.py") if "/" in path))
    usable = (name for name in found if name.isidentifier() and name.isascii())
    return f"{next((name for name in usable if tree.has(f'{folder}/{name}/wsgi.py')), package)}.wsgi"


def _collects(tree: Tree, folder: str, settings: str) -> bool:
    base = f"{folder}/{settings.replace('.', '/')}"
    candidates = (
        f"{base}.py",
        f"{base}/__init__.py",
        f"{base}/base.py",
        f"{base.rpartition('/')[0]}/base.py",
    )
    return any("STATIC_ROOT" in tree.text(path) for path in candidates)


def _asgi(tree: Tree, packages: PythonPackages) -> _Start | None:
    kinds = [kind for kind in _ASGI if kind.lower() in packages.names]
    target = find_target(tree, *kinds) if kinds else None
    if target is None:
        return None
    factory = " --factory" if target.is_factory else ""
    command = f'uvicorn {target.module}:{target.name}{factory} --host 0.0.0.0 --port "$PORT"'
    return _Start(kinds[0], command, _made(target, kinds[0]), server="uvicorn", folder=target.folder)


def _wsgi(tree: Tree, packages: PythonPackages) -> _Start | None:
    kinds = [kind for kind in _WSGI if kind.lower() in packages.names]
    target = find_target(tree, *kinds) if kinds else None
    if target is None:
        return None
    if kinds[0] == "Quart":
        factory = "()" if target.is_factory else ""
        command = f'hypercorn --bind "0.0.0.0:$PORT" {quoted(f"{target.module}:{target.name}{factory}")}'
        return _Start("Quart", command, _made(target, "Quart"), server="hypercorn", folder=target.folder)
    called = "()" if target.is_factory else ""
    command = f'gunicorn --bind "0.0.0.0:$PORT" {quoted(f"{target.module}:{target.name}{called}")}'
    return _Start(kinds[0], command, _made(target, kinds[0]), server="gunicorn", folder=target.folder)


def _made(target: Target, kind: str) -> str:
    return f"{target.path} makes the {kind} application."


def _streamlit(tree: Tree, packages: PythonPackages) -> _Start | None:
    script = tree.first("streamlit_app.py", "app.py", "main.py", "Home.py")
    if "streamlit" not in packages.names or not script:
        return None
    options = '--server.port "$PORT" --server.address 0.0.0.0 --server.headless true'
    return _Start(
        "Streamlit",
        f"streamlit run {script} {options}",
        f"{packages.file} names streamlit.",
        port=8501,
        health_path="/_stcore/health",
    )


def _by_procfile(procfile: dict[str, str], start: _Start | None) -> _Start:
    command = procfile[WEB]
    before = (procfile[RELEASE],) if RELEASE in procfile else ()
    program = command.split()[0]
    server = program if program in ("gunicorn", "uvicorn", "hypercorn", "daphne", "waitress-serve") else ""
    known = start or _Start("Python", command, "")
    return replace(
        known,
        command=command,
        before=before,
        server=server.removesuffix("-serve"),
        why="Procfile has the command.",
    )


def _script(tree: Tree) -> _Start | None:
    """A program that serves HTTP without a known framework."""
    serving = re.compile(r"http\.server|aiohttp|tornado|wsgiref|socketserver|cherrypy|bottle|sanic|PORT")
    script = next((path for path in _SCRIPTS if serving.search(tree.text(path))), "")
    return _Start("Python", f"python {script}", f"{script} is a program.") if script else None


def _mkdocs(tree: Tree, packages: PythonPackages | None) -> Detected:
    extra = {"mkdocs"}
    if re.search(r"\bname:\s*material\b", tree.text("mkdocs.yml")):
        extra.add("mkdocs-material")
    packages = packages or PythonPackages("pip", frozenset(), "", False, "3.12")
    missing = extra - packages.names
    installed: Sequence[str] = install(packages, missing) if packages.file else _bare(missing)
    text = dockerfile(
        "MkDocs",
        packages.manager,
        (
            f"ARG PYTHON_BASE={packages.base}",
            f"ARG STATIC_BASE={STATIC_BASE}",
            "FROM ${PYTHON_BASE} AS build",
        ),
        (
            "RUN python3 -m venv /opt/venv",
            "ENV PATH=/opt/venv/bin:$PATH VIRTUAL_ENV=/opt/venv",
            "WORKDIR /app",
            *installed,
            "RUN mkdocs build --site-dir /site",
        ),
        static_site("/site"),
    )
    return Detected(
        framework="MkDocs",
        package_manager=packages.manager,
        port=STATIC_PORT,
        command=STATIC_COMMAND,
        dockerfile=text,
        why=("mkdocs.yml configures the site.",),
        bases={"PYTHON_BASE": packages.base, "STATIC_BASE": STATIC_BASE},
    )


def _bare(packages: set[str]) -> list[str]:
    return [
        f"RUN --mount=type=cache,target=/root/.cache/pip pip install {' '.join(sorted(packages))}",
        "COPY . .",
    ]
