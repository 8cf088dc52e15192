"""Reads a Procfile: commands by process type (https://devcenter.heroku.com/articles/procfile)."""

from __future__ import annotations

import re

from stager.project.tree import Tree

WEB, RELEASE = "web", "release"
"""The process type that gets HTTP requests, and the one that runs before a new version."""

_LINE = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(\S.*)")


def read_procfile(tree: Tree) -> dict[str, str]:
    """Return the commands of the `Procfile`, each a line of shell; empty without one."""
    found = (_LINE.fullmatch(line.strip()) for line in tree.text("Procfile").splitlines())
    return {match[1]: match[2] for match in found if match}
