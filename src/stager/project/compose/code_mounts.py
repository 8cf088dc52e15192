"""Finds mounts of the repository's code over what a built image holds anyway."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from stager.domain.recipe import Recipe
from stager.project.dockerfile import instructions
from stager.project.tree import Tree

_FROM = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
MAX_COPIES = 500

_BRACKETS = re.compile(r"[\[\]\",]")


@dataclass(frozen=True, slots=True)
class _Copy:
    """A `COPY` or `ADD` line.

    Args:
        source: a path of the repository; None for one of another stage.
        path: where it is in the image.
    """

    source: str | None
    path: str


class BuiltImage:
    """What a Dockerfile copies into its image.

    Args:
        recipe: how the image is built.
    """

    def __init__(self, tree: Tree, recipe: Recipe) -> None:
        path = posixpath.normpath(posixpath.join(recipe.context, recipe.dockerfile))
        self._tree = tree
        self._copies = tuple(_copies(tree.text(path), recipe))[:MAX_COPIES]

    def holds(self, content: str, target: str) -> bool:
        """Whether the image has a folder of the repository at, above or below `target`: copied from the
        context, at least one of its folders, or built in another stage."""
        near = (copy for copy in self._copies if _is_below(target, copy.path) or _is_below(copy.path, target))
        return any(copy.source is None or self._is_of(copy.source, content) for copy in near)

    def _is_of(self, source: str, content: str) -> bool:
        return _is_below(content, source) or (_is_below(source, content) and self._tree.has_folder(source))


def _is_below(path: str, folder: str) -> bool:
    return folder in (".", "/") or path == folder or path.startswith(f"{folder}/")


def _copies(text: str, recipe: Recipe) -> Iterator[_Copy]:
    """The copies into the target stage and the stages that it is based on."""
    stages: list[tuple[str, str, list[_Copy]]] = []
    folders: dict[str, str] = {}
    for keyword, rest in instructions(text):
        if keyword == "FROM" and (found := _FROM.match(rest)):
            base, name = found[1].lower(), (found[2] or str(len(stages))).lower()
            stages.append((name, base, []))
            folders[name] = folders.get(base, "/")
        elif keyword == "WORKDIR" and stages:
            folders[stages[-1][0]] = posixpath.join(folders[stages[-1][0]], rest.strip("\"'"))
        elif keyword in ("COPY", "ADD") and stages:
            stages[-1][2].extend(_of_line(rest, folders[stages[-1][0]], recipe.context))
    wanted = recipe.target.lower() or (stages[-1][0] if stages else "")
    for name, base, copies in reversed(stages):
        if name == wanted:
            yield from copies
            wanted = base


def _of_line(rest: str, folder: str, context: str) -> Iterator[_Copy]:
    words = _BRACKETS.sub(" ", rest).split()
    is_staged = any(word.startswith("--from=") for word in words)
    *sources, path = [word for word in words if not word.startswith("--")] or [""]
    target = posixpath.normpath(posixpath.join(folder, path))
    for source in sources:
        inside = posixpath.normpath(posixpath.join(context, source.lstrip("/")))
        yield _Copy(None if is_staged else inside, "/" + target.lstrip("/"))
