"""Reads `build`."""

from __future__ import annotations

import posixpath

from stager.domain.recipe import DOCKERFILE, Recipe
from stager.project.compose.findings import Findings
from stager.project.compose.interpolation import Lookup
from stager.project.compose.keys import BUILD
from stager.project.compose.value import Value
from stager.project.tree import Tree


def read_build(value: Value, tree: Tree, lookup: Lookup, findings: Findings) -> Recipe:
    """Return how a service's image is built. Raises `Refused`."""
    given = value.data if isinstance(value.data, dict) else {"context": value}
    findings.check(BUILD, given)
    _check_network(given)
    context = _context(given, value)
    dockerfile = given["dockerfile"].text("`dockerfile`") if "dockerfile" in given else ""
    path = _dockerfile(given, context, dockerfile or DOCKERFILE)
    if not tree.has_folder(context):
        raise value.refuse(f"The build context {context!r} isn't a folder of the repository.")
    if not tree.has(path):
        raise value.refuse(f"There is no file {path} in the repository.", "Commit it, or set `dockerfile`.")
    return Recipe(
        context=context,
        dockerfile=posixpath.relpath(path, context),
        target=given["target"].text("`target`") if "target" in given else "",
        arguments=_arguments(given, lookup),
    )


def _check_network(given: dict[str, Value]) -> None:
    network = given["network"].text("`network`") if "network" in given else ""
    if network not in ("", "default", "none"):
        raise given["network"].refuse("`network` of `build` must be `default` or `none`.", "Remove it.")


def _context(given: dict[str, Value], value: Value) -> str:
    if "context" not in given or not given["context"].text("`context`"):
        raise value.refuse("`build` needs a `context`.", "Write it like `build: .`.")
    return given["context"].path("The build context")


def _dockerfile(given: dict[str, Value], context: str, name: str) -> str:
    if "dockerfile" not in given:
        return posixpath.normpath(posixpath.join(context, name))
    value = given["dockerfile"]
    return Value(name, value.place, context).path("`dockerfile`")


def _arguments(given: dict[str, Value], lookup: Lookup) -> dict[str, str]:
    if "args" not in given:
        return {}
    found: dict[str, str] = {}
    for name, value in given["args"].pairs("`args`"):
        text = lookup(name) if value.data is None else value.text(f"The argument {name}")
        if text is not None:
            found[name] = text
    return found
