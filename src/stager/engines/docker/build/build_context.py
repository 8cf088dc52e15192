"""Where a build's context and Dockerfile are in a checkout, which somebody else's commit fills.

A commit may hold symbolic links to anywhere. Whatever is handed to `docker buildx` is free of them, so that
no build reads a file of this machine by way of one. Links inside the context are harmless: BuildKit gets them
as links, and follows them within the context only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stager.domain.errors import Fault
from stager.domain.recipe import Recipe

NAMED = 5
"""So many of the Dockerfiles that there are get named."""
LOOKED_AT = 5_000
"""So many files are looked at for that."""

_DOCKERFILE = re.compile(r"(dockerfile|containerfile)|.+\.dockerfile$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Context:
    """Both paths are absolute and lead through no symbolic link."""

    folder: Path
    dockerfile: Path


def locate(tree: Path, recipe: Recipe) -> Context:
    """Where the recipe's context and Dockerfile are.

    Raises:
        Fault: `build-refused`: one of them is outside of the tree; `dockerfile-missing`.
    """
    root = tree.resolve(strict=True)
    folder = _inside(root, root / recipe.context, f'The build context "{recipe.context}"')
    if not folder.is_dir():
        raise _missing(root, f'There is no folder "{recipe.context}" in this commit to build.')
    dockerfile = _inside(root, folder / recipe.dockerfile, f'The Dockerfile "{recipe.dockerfile}"')
    if not dockerfile.is_file():
        where = "" if folder == root else f' in "{recipe.context}"'
        raise _missing(root, f'There is no Dockerfile "{recipe.dockerfile}"{where} in this commit.')
    return Context(folder, dockerfile)


def _inside(root: Path, path: Path, what: str) -> Path:
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a name that no file can have
        raise _refused(f"{what} can't be followed: {error}.") from error
    if not resolved.is_relative_to(root):
        raise _refused(f"{what} leads out of the repository.")
    return resolved


def _refused(message: str) -> Fault:
    return Fault(
        message,
        hint="Name a path inside the repository; symbolic links on the way have to stay inside as well.",
        reason="build-refused",
    )


def _missing(root: Path, message: str) -> Fault:
    found = sorted(islice(_dockerfiles(root), NAMED))
    hint = f"There is: {', '.join(found)}. `build.dockerfile` names it, from the folder `build.context`."
    none = "There is nothing like a Dockerfile in it. Add one, or leave `build:` out and prepare an image."
    return Fault(message, hint=hint if found else none, reason="dockerfile-missing")


def _dockerfiles(root: Path) -> Iterator[str]:
    """What looks like a Dockerfile, from the root's own folder on down."""
    files = (Path(folder) / name for folder, _, names in os.walk(root) for name in sorted(names))
    for path in islice(files, LOOKED_AT):
        if _DOCKERFILE.match(path.name) and path.suffix != ".dockerignore":
            yield str(path.relative_to(root))
