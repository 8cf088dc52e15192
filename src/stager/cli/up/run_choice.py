"""Decides on which port and with which command the application of `stager up` runs."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stager.cli.up.base_image import BaseImage
from stager.cli.up.build_choice import BuildChoice
from stager.cli.up.terminal import Terminal
from stager.domain.errors import Refused
from stager.project.detected import Detected
from stager.project.dockerfiles import Dockerfile
from stager.project.frameworks.text import STATIC_COMMAND, with_port
from stager.project.last_stage import LastStage, port_in, read_last_stage, reads_port
from stager.project.procfile import WEB
from stager.project.survey import Project
from stager.project.tree import Tree
from stager.settings.repository_file import ParsedFile

USUAL_PORT = 8080
"""The port of an application that listens on `$PORT`, whatever it is."""

SERVERS = re.compile(
    r"(^|/)(nginx|httpd|caddy|traefik|tomcat|jetty|haproxy|wordpress|ghost|varnish)([:@-]|$)"
)
APACHE = re.compile(r":[\w.-]*(apache|fpm|nginx)")
"""Base images that serve by themselves: they have a command and a port of their own."""

WITHOUT_PORT = re.compile(
    r"^(?:docker\.io/)?(?:library/)?(?:python|node|ruby|golang|rust|openjdk|eclipse-temurin|amazoncorretto|maven|gradle"
    r"|php|perl|elixir|erlang|alpine|debian|ubuntu|busybox|scratch|oven/bun|denoland/deno|gcr\.io/distroless/\S*)(?:[:@]|$)"
)
"""Base images that expose no port."""

_READS_PORT = re.compile(
    r"""process\.env\.PORT\b|process\.env\[["']PORT["']\]|env(?:iron)?(?:\.get)?[(\[]\s*["']PORT["']"""
    r"""|[Gg]et[Ee]nv\(\s*["']PORT["']|ENV(?:\.fetch\(|\[)\s*["']PORT["']"""
)
_SOURCES = ("*.py", "*.js", "*.mjs", "*.cjs", "*.ts", "*.go", "*.rb", "*.php", "*.rs", "*.java", "*.sh")
MOST_SOURCES = 200
"""Source files that are searched for `$PORT`."""

_PYTHON_PATH = re.compile(r" PYTHONPATH=/app/([\w./-]+)")


@dataclass(frozen=True, slots=True)
class RunChoice:
    """How the image runs.

    Args:
        port: None where the Dockerfile or its base image says it.
        port_why: where the port is from, for the user.
        command: empty for the image's own.
        command_why: where it is from.
        default_command: what runs in an image without a command of its own; empty if it has one, or unknown.
        secrets: the ids of the build secrets that the Dockerfile uses.
    """

    port: int | None
    port_why: str = ""
    command: tuple[str, ...] = ()
    command_why: str = ""
    default_command: str = ""
    secrets: frozenset[str] = frozenset()


Inspect = Callable[[str], BaseImage | None]
"""Returns the base image of this name; None if it isn't on this machine."""

Base = Callable[[], BaseImage | None]
"""Returns the base image of the Dockerfile. It takes the time of a `docker` command, so only where nothing
else says what is needed."""


class RunChooser:
    """Chooses port and command.

    Args:
        tree: the repository's root.
        file: its repository file.
    """

    def __init__(
        self, tree: Tree, project: Project, file: ParsedFile, terminal: Terminal, inspect: Inspect
    ) -> None:
        self._tree = tree
        self._project = project
        self._file = file
        self._terminal = terminal
        self._inspect = inspect

    def choose(self, build: BuildChoice, port: int | None, arguments: Mapping[str, str]) -> RunChoice:
        """Return port and command.

        Args:
            port: the option; None if it isn't given.
            arguments: the values of build arguments.

        Raises:
            Refused: `app-port-unknown`: no file specifies the port, and there is no terminal.
        """
        dockerfile = build.dockerfile
        if dockerfile is None:
            return RunChoice(port, "--app-port" if port else "")
        stage = read_last_stage(self._tree.text(dockerfile.path), arguments)
        base = functools.cache(lambda: self._inspect(stage.base) if stage.base else None)
        command, why, runs = self._command(build, dockerfile, stage, base)
        found, found_why = (
            (port, "--app-port") if port else self._port(build, dockerfile, stage, base, " ".join(command))
        )
        return RunChoice(found, found_why, command, why, runs, stage.secrets)

    def _command(
        self, build: BuildChoice, dockerfile: Dockerfile, stage: LastStage, base: Base
    ) -> tuple[tuple[str, ...], str, str]:
        """Return the command, where it is from, and what runs without one."""
        if dockerfile.has_command or self._file.manifest.command or _is_server(stage.base):
            return (), "", ""
        web = self._project.procfile.get(WEB, "")
        if web and build.context == ".":
            return with_port(web, build.detected.port if build.detected else USUAL_PORT), "Procfile", ""
        if build.detected and build.detected.command != STATIC_COMMAND:
            return _of_framework(build.detected), build.detected.framework, ""
        found = base()
        return (), "", " ".join(found.command) if found else ""

    def _port(
        self,
        build: BuildChoice,
        dockerfile: Dockerfile,
        stage: LastStage,
        base: Base,
        command: str,
    ) -> tuple[int | None, str]:
        """Return the port and where it is from. None leaves it to the image."""
        if self._file.manifest.port or dockerfile.port:
            return None, ""
        known = self._named_port(build, stage, command)
        if known is not None:
            return known
        found = base()
        if (found.has_port if found else not WITHOUT_PORT.search(stage.base)) or _is_server(stage.base):
            return None, ""
        return self._asked(dockerfile.path), "your answer"

    def _named_port(self, build: BuildChoice, stage: LastStage, command: str) -> tuple[int, str] | None:
        """Return the port that a file names, and the file."""
        tree = self._tree.below(build.context)
        samples = {each.name: each for each in self._project.variables}
        sample = samples["PORT"].value if "PORT" in samples else ""
        candidates = (
            (port_in(self._file_command), ".stager.yml"),
            (port_in(command), "the command"),
            (stage.port, build.dockerfile.path if build.dockerfile else ""),
            (build.service.port if build.service else None, "the Compose file"),
            (int(sample) if sample.isdecimal() else None, samples["PORT"].source if sample else ""),
            (USUAL_PORT if reads_port(f"{command} {stage.command}") else None, "its command reads $PORT"),
            (build.detected.port, build.detected.framework) if build.detected else (None, ""),
            (USUAL_PORT if _reads_port(tree) else None, "its code reads $PORT"),
        )  # fmt: skip
        return next(((port, why) for port, why in candidates if port), None)

    @property
    def _file_command(self) -> str:
        return " ".join(self._file.manifest.command)

    def _asked(self, path: str) -> int:
        if not self._terminal.is_interactive:
            raise Refused(
                f"{path} has no EXPOSE line, and no other file specifies the application's port.",
                hint="Add --app-port with the port, such as --app-port 8000, or an EXPOSE line.",
                reason="app-port-unknown",
            )
        while True:
            answer = self._terminal.ask("On which port does the application listen?")
            if answer.isdecimal() and 0 < int(answer) < 1 << 16:
                return int(answer)
            self._terminal.say("Enter a number from 1 to 65535.")


def _is_server(base: str) -> bool:
    return bool(SERVERS.search(base) or APACHE.search(base))


def _of_framework(detected: Detected) -> tuple[str, ...]:
    """The framework's command, with Python's path as in the generated Dockerfile."""
    found = _PYTHON_PATH.search(detected.dockerfile)
    if found is None:
        return detected.command
    *shell, line = detected.command
    return (*shell, f'export PYTHONPATH="{found[1]}${{PYTHONPATH:+:$PYTHONPATH}}"\n{line}')


def _reads_port(tree: Tree) -> bool:
    sources = tree.matching(*_SOURCES)[:MOST_SOURCES]
    return any(_READS_PORT.search(tree.text(path)) for path in sources)
