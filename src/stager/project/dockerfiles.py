"""Finds a repository's Dockerfiles, in the order in which they are likely to be the application's, and the
folder that each is meant to be built in."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from stager.project.dockerfile import exposed, first_port, instructions
from stager.project.tree import Tree

MOST_DOCKERFILES = 200
"""Maximum number of Dockerfiles that are read."""

PATTERNS = ("Dockerfile", "*.Dockerfile", "*.dockerfile", "Dockerfile.*", "Dockerfile-*", "Containerfile")

NOT_APPLICATIONS = frozenset(
    {
        *("test", "tests", "testing", "spec", "e2e", "fixtures", "testdata", "__tests__", "cypress"),
        *("example", "examples", "sample", "samples", "demo", "demos", "template", "templates"),
        *(".devcontainer", "devcontainer", ".github", ".gitlab", ".circleci", ".buildkite", "ci", "bench"),
        *("benchmark", "benchmarks", "docs", "doc", "tools", "hack"),
    }
)
"""Names of folders whose Dockerfiles aren't the application's."""

BUILD_FOLDERS = frozenset(
    {"docker", ".docker", "dockerfiles", "deploy", "deployment", "build", "container", "containers", "infra"}
)
"""Names of folders with files for builds; the context of their Dockerfiles is usually the root."""

MANIFESTS = (
    *("package.json", "requirements.txt", "pyproject.toml", "Pipfile", "composer.json", "Gemfile", "go.mod"),
    *("Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "mix.exs", "index.html"),
)

_SECONDARY = re.compile(
    r"(^|[._-])(dev|develop|development|local|test|tests|ci|lint|debug|base|builder|build|worker|cron|db"
    r"|database|postgres|mysql|redis|nginx|proxy|docs|e2e|cuda|gpu|arm|arm64|armv7|windows|alpine)([._-]|$)",
    re.IGNORECASE,
)
_PRIMARY = re.compile(r"(^|[._-])(prod|production|web|app|server|release)([._-]|$)", re.IGNORECASE)
_OPTION = re.compile(r"--\S+\s+")
_ABOVE = re.compile(r"(\./)*\.\./")


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile of a repository.

    Args:
        path: relative to the repository's root.
        context: the folder to build it in, relative to the root.
        port: its first `EXPOSE`; None without one.
        has_command: whether it has a `CMD` or an `ENTRYPOINT`. Without one, the base image's applies.
        is_secondary: whether its name or folder is that of something beside the application, such as a
            database, or of development and tests.
        missing: sources of its `COPY` lines that don't exist in the context.
    """

    path: str
    context: str
    port: int | None = None
    has_command: bool = True
    is_secondary: bool = False
    missing: tuple[str, ...] = ()

    @property
    def dockerfile(self) -> str:
        """Its path relative to the context, as in the setting `build.dockerfile`."""
        return posixpath.relpath(self.path, self.context)


def find_dockerfiles(tree: Tree) -> tuple[Dockerfile, ...]:
    """Return the Dockerfiles of applications, the most likely one first."""
    paths = sorted(filter(_is_application, tree.matching(*PATTERNS)), key=_rank)
    return tuple(read_dockerfile(tree, path) for path in paths[:MOST_DOCKERFILES])


def read_dockerfile(tree: Tree, path: str, context: str | None = None) -> Dockerfile:
    """Read a Dockerfile.

    Args:
        context: the folder to build it in; None guesses it.
    """
    text = tree.text(path)
    sources = tuple(_sources(text))
    if context is None:
        context = _context(tree, path, sources)
    return Dockerfile(
        path=path,
        context=context,
        port=first_port(exposed(text, {}), {}),
        has_command=_has_command(text),
        is_secondary=_rank(path)[0],
        missing=tuple(source for source in sources if not _exists(tree, context, source)),
    )


def _has_command(text: str) -> bool:
    """Whether the last stage has a `CMD` or an `ENTRYPOINT`."""
    has_command = False
    for keyword, _ in instructions(text):
        if keyword == "FROM":
            has_command = False
        elif keyword in ("CMD", "ENTRYPOINT"):
            has_command = True
    return has_command


def _is_application(path: str) -> bool:
    *folders, name = path.lower().split("/")
    return not NOT_APPLICATIONS.intersection(folders) and not name.endswith((".dockerignore", ".j2", ".md"))


def _rank(path: str) -> tuple[bool, bool, bool, int, bool, str]:
    """The sort key: Dockerfiles of something else last, then the root's own, plain names, few folders."""
    *folders, name = path.split("/")
    words = [name.lower().replace("dockerfile", ""), *folders]
    is_secondary = any(_SECONDARY.search(word) for word in words if word.lower() not in BUILD_FOLDERS)
    is_primary = any(_PRIMARY.search(word) for word in words)
    return is_secondary, bool(folders), name.lower() != "dockerfile", len(folders), not is_primary, path


def _sources(text: str) -> Iterator[str]:
    """The sources of `COPY` and `ADD` in the build context; those with variables are left out."""
    for keyword, rest in instructions(text):
        if keyword not in ("COPY", "ADD") or "--from=" in rest or "<<" in rest:
            continue
        for source in _words(rest)[:-1]:
            if "$" not in source and "://" not in source and not source.startswith("git@"):
                yield posixpath.normpath(source.lstrip("/")) if source.strip("/") else "."


def _words(rest: str) -> list[str]:
    while (option := _OPTION.match(rest)) is not None:
        rest = rest[option.end() :]
    if rest.startswith("["):
        try:
            found = json.loads(rest)
        except (ValueError, RecursionError):
            return []
        return [word for word in found if isinstance(word, str)]
    return rest.split()


def _context(tree: Tree, path: str, sources: tuple[str, ...]) -> str:
    """Guess the context: the folder, of those from the root to the Dockerfile's own, in which most sources
    exist. Where that doesn't decide, it is the Dockerfile's own folder if that has an application's manifest,
    and the root otherwise."""
    own = posixpath.dirname(path) or "."
    if own == ".":
        return "."
    parts = own.split("/")
    folders = [".", *("/".join(parts[: n + 1]) for n in range(len(parts)))]
    named = {source for source in sources if source != "."}
    found = {folder: sum(_exists(tree, folder, source) for source in named) for folder in folders}
    best = [folder for folder in folders if found[folder] == max(found.values())]
    has_manifest = any(tree.has(f"{own}/{name}") for name in MANIFESTS)
    return own if own in best and (has_manifest or "." not in best) else best[0]


def _exists(tree: Tree, folder: str, source: str) -> bool:
    if _ABOVE.match(source):
        return False
    path = posixpath.normpath(posixpath.join(folder, source))
    if any(sign in source for sign in "*?["):
        return any(fnmatchcase(file, path) for file in tree.files)
    return tree.has(path) or tree.has_folder(path)
