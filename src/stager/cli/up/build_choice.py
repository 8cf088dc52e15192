"""Decides what `stager up` builds: a Dockerfile of the repository, or a generated one."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from pathlib import Path

from stager.cli.up.options import BuildOptions
from stager.cli.up.terminal import Terminal, choose, listed
from stager.domain.errors import Refused
from stager.domain.service import ServiceSpec
from stager.project.detected import Detected
from stager.project.dockerfiles import Dockerfile, read_dockerfile
from stager.project.survey import Project
from stager.project.tree import Tree
from stager.settings.repository_file import ParsedFile

ROOT = "."


@dataclass(frozen=True, slots=True)
class BuildChoice:
    """What is built. Paths are relative to the repository's root.

    Args:
        context: the folder that is built.
        why: why this was chosen, for the user.
        dockerfile: None for a generated one.
        detected: the framework of the application in the context; None if it is unknown.
        target: the stage; empty for the last one.
        service: the Compose service that names this build.
    """

    context: str
    why: str
    dockerfile: Dockerfile | None = None
    detected: Detected | None = None
    target: str = ""
    service: ServiceSpec | None = None

    @property
    def built(self) -> tuple[str, str]:
        """The build context, and the Dockerfile relative to it."""
        if self.dockerfile is not None:
            return self.context, self.dockerfile.dockerfile
        if self.detected is not None and self.detected.context:
            path = posixpath.join(self.context, "Dockerfile")
            return self.detected.context, posixpath.relpath(path, self.detected.context)
        return self.context, "Dockerfile"


class BuildChooser:
    """Chooses the build.

    Args:
        folder: the repository's root.
        file: its repository file.
    """

    def __init__(self, folder: Path, project: Project, file: ParsedFile, terminal: Terminal) -> None:
        self._folder = folder
        self.tree = Tree(folder)
        self._project = project
        self._file = file
        self._terminal = terminal

    def choose(self, options: BuildOptions) -> BuildChoice:
        """Return the build: of the options, of `.stager.yml`, the Dockerfile at the root, that of a Compose
        service, any other Dockerfile, or a generated one, in this order.

        Raises:
            Refused: `no-build`: nothing can be built; `build-option-invalid`.
        """
        chosen = (
            self._of_options(options)
            or self._of_file()
            or self._of_root()
            or self._of_compose()
            or self._of_others()
            or self._generated()
        )
        if chosen is None:
            raise self._nothing()
        return replace(chosen, detected=chosen.detected or self._detected(chosen.context))

    def _of_options(self, options: BuildOptions) -> BuildChoice | None:
        if options.dockerfile:
            path = self._inside("--dockerfile", options.dockerfile)
            if not self.tree.has(path):
                raise _invalid(f"--dockerfile: there is no file {path} in {self._folder}.", self._found())
            context = self._inside("--context", options.context) if options.context else None
            return self._with(read_dockerfile(self.tree, path, context), "--dockerfile")
        if options.context:
            context = self._inside("--context", options.context)
            if not self.tree.has_folder(context):
                raise _invalid(f"--context: there is no folder {context} in {self._folder}.")
            return self._in_folder(context)
        return None

    def _in_folder(self, context: str) -> BuildChoice:
        path = posixpath.normpath(posixpath.join(context, "Dockerfile"))
        if self.tree.has(path):
            return self._with(read_dockerfile(self.tree, path, context), "--context")
        detected = self._detected(context)
        if detected is None:
            raise _invalid(f"--context: {context} has no Dockerfile and no known framework.", self._found())
        return BuildChoice(context, "--context", detected=detected)

    def _of_file(self) -> BuildChoice | None:
        build = self._file.build
        if build is None or not build.model_fields_set & {"context", "dockerfile"}:
            return None
        path = posixpath.normpath(posixpath.join(build.context, build.dockerfile))
        if not self.tree.has(path):
            raise Refused(
                f"The Dockerfile {path}, which .stager.yml names, doesn't exist.",
                hint=f"Correct it there, or choose another one with --dockerfile. {self._found()}",
                reason="no-build",
            )
        chosen = self._with(read_dockerfile(self.tree, path, build.context), ".stager.yml")
        return replace(chosen, target=build.target)

    def _of_root(self) -> BuildChoice | None:
        found = next((each for each in self._project.dockerfiles if each.path == "Dockerfile"), None)
        return self._with(found, "") if found else None

    def _of_compose(self) -> BuildChoice | None:
        compose = self._project.compose
        built = [each for each in compose.services if each.build] if compose else []
        if compose is None or not built:
            return None
        built.sort(key=lambda each: each.port is None)
        number = self._choice("Which service of the Compose file?", [each.name for each in built])
        return self.of_service(built[number], compose.path)

    def of_service(self, service: ServiceSpec, path: str) -> BuildChoice | None:
        """Return the build of a service of a Compose file; None if it has none.

        Args:
            path: the Compose file.
        """
        build = service.build
        if build is None:
            return None
        dockerfile = posixpath.normpath(posixpath.join(build.context, build.dockerfile))
        found = self._with(
            read_dockerfile(self.tree, dockerfile, build.context), f"of the service {service.name} in {path}"
        )
        return replace(found, target=build.target, service=service)

    def _of_others(self) -> BuildChoice | None:
        found = self._project.dockerfiles
        if not found:
            return None
        number = self._choice("Which Dockerfile?", [each.path for each in found])
        return self._with(found[number], _others(len(found)))

    def _generated(self) -> BuildChoice | None:
        found = self._project.applications
        if not found:
            return None
        number = self._choice("Which application?", [f"{each.folder}: {each.framework}" for each in found])
        chosen = found[number]
        others = f" --context chooses another of {len(found)} applications." if len(found) > 1 else ""
        why = f"{chosen.framework} was detected: {' '.join(chosen.why)}{others}"
        return BuildChoice(chosen.folder, why, detected=chosen)

    def _choice(self, question: str, options: list[str]) -> int:
        if len(options) == 1 or not self._terminal.is_interactive:
            return 0
        return choose(self._terminal, question, options)

    def _with(self, dockerfile: Dockerfile, why: str) -> BuildChoice:
        return BuildChoice(dockerfile.context, why, dockerfile)

    def _detected(self, context: str) -> Detected | None:
        return next((each for each in self._project.applications if each.folder == context), None)

    def _inside(self, option: str, given: str) -> str:
        path = posixpath.normpath(given)
        if path.startswith(("..", "/")):
            hint = "Give the folder that contains it as FOLDER, and a path relative to that."
            raise _invalid(f"{option}: {given} is outside of {self._folder}.", hint)
        return path

    def _found(self) -> str:
        paths = [each.path for each in self._project.dockerfiles]
        return f"Found: {listed(paths)}." if paths else ""

    def _nothing(self) -> Refused:
        return Refused(
            f"There is no Dockerfile in {self._folder}, and no framework that Stager knows.",
            hint="Add a Dockerfile, or give the folder that has one. --dockerfile chooses one by its path.",
            reason="no-build",
        )


def _others(count: int) -> str:
    return f"one of {count}; --dockerfile chooses another" if count > 1 else ""


def _invalid(message: str, hint: str = "") -> Refused:
    return Refused(message, hint=hint, reason="build-option-invalid")
