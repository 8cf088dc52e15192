"""Locates a build's context and Dockerfile in a checkout, whose content is untrusted.

A commit may contain symbolic links to anywhere. The paths for `docker buildx` are resolved and checked, so
that no build reads a file of this machine through a link. Links inside the context are harmless: BuildKit
receives them as links, and follows them within the context only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from stager.domain.errors import Fault
from stager.domain.recipe import DOCKERFILE, Recipe
from stager.project.detected import Detected
from stager.project.dockerfiles import find_dockerfiles
from stager.project.tree import Tree

NAMED = 5
"""Maximum number of Dockerfiles listed in the hint."""
LOOKED_AT = 5_000
"""Maximum number of files searched for that."""

_DOCKERFILE = re.compile(r"(dockerfile|containerfile)|.+\.dockerfile$", re.IGNORECASE)


LONGEST_DOCKERFILE = 1 << 16
"""Bytes of a Dockerfile that are read for its ports and arguments. It is untrusted input."""


@dataclass(frozen=True, slots=True)
class Context:
    """A build's context and Dockerfile, as absolute paths without symbolic links.

    Args:
        generated: the application that the Dockerfile is generated for; None if it is in the commit.
        note: how the Dockerfile was chosen, for the build's log; empty if the recipe names it.
    """

    folder: Path
    dockerfile: Path
    generated: Detected | None = None
    note: str = ""

    @property
    def text(self) -> str:
        """The first part of the Dockerfile's text."""
        if self.generated is not None:
            return self.generated.dockerfile
        with self.dockerfile.open("rb") as file:
            return file.read(LONGEST_DOCKERFILE).decode("utf-8", "replace")

    def ordered(self, recipe: Recipe) -> Recipe:
        """The recipe with the build arguments for a generated Dockerfile."""
        if self.generated is None:
            return recipe
        return replace(recipe, arguments={**recipe.variables, **recipe.arguments})

    @property
    def health_path(self) -> str:
        """The path of the detected framework's health check; empty for none."""
        return self.generated.health_path if self.generated is not None else ""

    @property
    def note_lines(self) -> tuple[str, ...]:
        """The note and a generated Dockerfile, for the build's log."""
        lines = self.generated.dockerfile.splitlines() if self.generated is not None else ()
        return (*((self.note,) if self.note else ()), *lines)

    def written(self, folder: Path) -> Context:
        """Write a generated Dockerfile.

        Args:
            folder: outside of the commit's files, which stay as they are.
        """
        if self.generated is None:
            return self
        path = folder / "Dockerfile"
        path.write_text(self.generated.dockerfile, "utf-8")
        if not (self.folder / ".dockerignore").is_file():
            # BuildKit reads it instead of the context's `.dockerignore`.
            (folder / "Dockerfile.dockerignore").write_text(self.generated.dockerignore, "utf-8")
        return replace(self, dockerfile=path)


def locate(tree: Path, recipe: Recipe) -> Context:
    """Locate the recipe's context and Dockerfile.

    Raises:
        Fault: `build-refused`: one of them is outside of the tree; `dockerfile-missing`;
            `application-ambiguous`: a Dockerfile isn't generated, because several applications are detected.
    """
    root = tree.resolve(strict=True)
    folder = _inside(root, root / recipe.context, f'The build context "{recipe.context}"')
    if not folder.is_dir():
        raise _missing(root, f'The build context "{recipe.context}" doesn\'t exist in this commit.')
    dockerfile = _inside(root, folder / recipe.dockerfile, f'The Dockerfile "{recipe.dockerfile}"')
    if not dockerfile.is_file() and recipe.auto and recipe.dockerfile == DOCKERFILE:
        return _automatic(root, folder, recipe)
    if not dockerfile.is_file():
        where = "" if folder == root else f' in "{recipe.context}"'
        raise _missing(root, f'The Dockerfile "{recipe.dockerfile}" doesn\'t exist{where} in this commit.')
    return Context(folder, dockerfile)


def _automatic(root: Path, folder: Path, recipe: Recipe) -> Context:
    """Locate another Dockerfile of the context, or generate one.

    Raises:
        Fault: `application-ambiguous`: several applications are detected; `dockerfile-missing`: none is.
    """
    # 20 ms of processor time, which a commit with a Dockerfile doesn't need.
    from stager.project.frameworks.detect import detect_all  # noqa: PLC0415

    tree = Tree(root, folder.relative_to(root).as_posix())
    found, applications = find_dockerfiles(tree), detect_all(tree)
    chosen = next((each for each in found if not each.is_secondary or not applications), None)
    if chosen is not None:
        note = f'Found {chosen.path}, built in the folder "{chosen.context}" (build: auto)'
        inner = _inside(root, folder / chosen.context, f'The build context "{chosen.context}"')
        return Context(inner, _inside(root, folder / chosen.path, f'"{chosen.path}"'), note=note)
    if len(applications) > 1:
        raise _ambiguous(applications)
    if not applications:
        raise Fault(
            "The commit has no Dockerfile, and no framework is detected in it.",
            hint="Add a Dockerfile, or a Procfile with a line `web:` beside the dependencies' file.",
            reason="dockerfile-missing",
        )
    [application] = applications
    inner = _inside(root, folder / application.folder, "The application's folder")
    if application.context:
        inner = _inside(root, root / application.context, "The workspace's folder")
    note = f"No Dockerfile: generated one (build: auto), because {' '.join(application.why)}"
    generated = application.with_arguments(sorted({*recipe.arguments, *recipe.variables}))
    return Context(inner, inner / "Dockerfile", generated, note)


def _ambiguous(applications: tuple[Detected, ...]) -> Fault:
    named = ", ".join(f"{each.folder} ({each.framework})" for each in applications[:NAMED])
    return Fault(
        f"The commit has no Dockerfile, and several applications: {named}.",
        hint=f"Choose one with `build: {{auto: true, context: {applications[0].folder}}}`.",
        reason="application-ambiguous",
    )


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
