"""Detects the applications of a repository: one at its root, or several in folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stager.project.detected import Detected
from stager.project.dockerfiles import MANIFESTS, NOT_APPLICATIONS
from stager.project.frameworks import go, node, php, python, ruby, static
from stager.project.tree import Tree

DETECTORS = (php.detect, ruby.detect, go.detect, python.detect, node.detect, static.detect)
"""The first that detects something decides. Node.js comes late: many applications in other languages have a
`package.json` for their assets."""

MOST_APPLICATIONS = 20
_DEPTH = 2


def detect(tree: Tree) -> Detected | None:
    """Return the application of a folder; None for none."""
    found = (each(tree) for each in DETECTORS)
    return next((detected for detected in found if detected is not None), None)


def detect_all(tree: Tree) -> tuple[Detected, ...]:
    """Return the repository's applications: the one at its root, or else those in its folders."""
    found = detect(tree)
    if found is not None and found.framework != "static files":
        return (found,)
    nested = tuple(_nested(tree))[:MOST_APPLICATIONS]
    return nested or ((found,) if found else ())


def _nested(tree: Tree) -> Iterator[Detected]:
    seen: list[str] = []
    for folder in _folders(tree):
        if any(folder.startswith(f"{outer}/") for outer in seen):
            continue
        found = detect(tree.below(folder))
        if found is not None and found.framework != "static files":
            seen.append(folder)
            yield replace(found, folder=folder)


def _folders(tree: Tree) -> list[str]:
    """The folders with a manifest, the outer ones first."""
    found = {path.rpartition("/")[0] for path in tree.matching(*MANIFESTS, "mkdocs.yml")}
    usable = (
        folder
        for folder in found
        if folder and folder.count("/") < _DEPTH and not NOT_APPLICATIONS.intersection(folder.split("/"))
    )
    return sorted(usable, key=lambda folder: (folder.count("/"), folder))
