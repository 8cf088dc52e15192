"""Locates a build's context and Dockerfile in a checkout, whose content is untrusted.

A commit may contain symbolic links to anywhere. The paths for `docker buildx` are resolved and checked, so
that no build reads a file of this machine through a link. Links inside the context are harmless: BuildKit
receives them as links, and follows them within the context only.
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
"""Maximum number of Dockerfiles listed in the hint."""
LOOKED_AT = 5_000
"""Maximum number of files searched for that."""

_DOCKERFILE = re.compile(r"(dockerfile|containerfile)|.+\.dockerfile$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Context:
    """Absolute paths without symbolic links."""

    folder: Path
    dockerfile: Path


def locate(tree: Path, recipe: Recipe) -> Context:
    """Locate the recipe's context and Dockerfile.

    Raises:
        Fault: `build-refused`: one of them is outside of the tree; `dockerfile-missing`.
    """
    root = tree.resolve(strict=True)
    folder = _inside(root, root / recipe.context, f'The build context "{recipe.context}"')
    if not folder.is_dir():
        raise _missing(root, f'The build context "{recipe.context}" doesn\'t exist in this commit.')
    dockerfile = _inside(root, folder / recipe.dockerfile, f'The Dockerfile "{recipe.dockerfile}"')
    if not dockerfile.is_file():
        where = "" if folder == root else f' in "{recipe.context}"'
        raise _missing(root, f'The Dockerfile "{recipe.dockerfile}" doesn\'t exist{where} in this commit.')
    return Context(folder, dockerfile)


def _inside(root: Path, path: Path, what: str) -> Path:
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # A loop of links, or an invalid name.
        raise _refused(f"{what} can't be resolved: {error}.") from error
    if not resolved.is_relative_to(root):
        raise _refused(f"{what} is outside the repository.")
    return resolved


def _refused(message: str) -> Fault:
    return Fault(
        message,
        hint="Use a path inside the repository; symbolic links must stay inside as well.",
        reason="build-refused",
    )


def _missing(root: Path, message: str) -> Fault:
    found = sorted(islice(_dockerfiles(root), NAMED))
    hint = f"Found: {', '.join(found)}. Set `build.dockerfile`, relative to the folder `build.context`."
    none = "The commit has no Dockerfile. Add one, or remove `build:` and use a prebuilt image."
    return Fault(message, hint=hint if found else none, reason="dockerfile-missing")


def _dockerfiles(root: Path) -> Iterator[str]:
    """Files that look like Dockerfiles, starting in the root folder."""
    files = (Path(folder) / name for folder, _, names in os.walk(root) for name in sorted(names))
    for path in islice(files, LOOKED_AT):
        if _DOCKERFILE.match(path.name) and path.suffix != ".dockerignore":
            yield str(path.relative_to(root))
