"""`stager init`: writes a repository's `.stager.yml` from what its files say. Needs no server."""

from __future__ import annotations

import json
import posixpath
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import yaml

from stager.domain.names import slugify
from stager.project.detected import Detected
from stager.project.dockerfiles import Dockerfile
from stager.project.survey import Project, survey
from stager.project.variables import Variable

FILE = ".stager.yml"
AUTO = "auto"
MOST_SECRETS = 10
_GITHUB = re.compile(r"^\s*url\s*=\s*\S*github\.com[:/]([\w.-]+)/([\w.-]+?)(?:\.git)?/?\s*$", re.MULTILINE)
_PLAIN = re.compile(r"\.|[A-Za-z0-9_/.][A-Za-z0-9_./-]*")


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(init)


@dataclass(frozen=True, slots=True)
class _Choice:
    """An application of the repository, and how it is built.

    Args:
        dockerfile: None to generate one.
        detected: None if no framework is detected.
        port: None if unknown.
        health_path: empty for none.
    """

    dockerfile: Dockerfile | None
    detected: Detected | None
    port: int | None
    health_path: str = ""

    @property
    def folder(self) -> str:
        """The build context."""
        if self.dockerfile is not None:
            return self.dockerfile.context
        return self.detected.folder if self.detected is not None else "."

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        if self.dockerfile is not None:
            return f"{self.dockerfile.path}{self._place}"
        assert self.detected is not None  # noqa: S101
        manager = f" with {self.detected.package_manager}" if self.detected.package_manager else ""
        return f"{self.detected.framework}{manager}{self._place}"

    @property
    def _place(self) -> str:
        return "" if self.folder == "." else f', in the folder "{self.folder}"'


def init(  # noqa: PLR0913 (one parameter per option)
    folder: Annotated[Path, typer.Argument(help="The repository's folder.")] = Path(),
    *,
    context: Annotated[
        str, typer.Option(help="The application's folder, if there are several applications.")
    ] = "",
    dockerfile: Annotated[
        bool, typer.Option("--dockerfile", help="Write the generated Dockerfile, to change it.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Write the server's part to this file instead of showing it."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask no questions; use the detected values.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Write only .mcp.json, by which coding agents find the server.")
    ] = False,
    endpoint: Annotated[
        str,
        typer.Option(metavar="NAME", envvar="STAGER_ENDPOINT", help="The server of --mcp: its name or URL."),
    ] = "",
) -> None:
    """Write a repository's .stager.yml from what its files say.

    Detects the Dockerfile or the framework, the port and the package manager. Asks at most three questions,
    and none with --yes or outside of a terminal.
    """
    root = _repository(folder)
    if mcp:
        from stager.cli.mcp_file import write_mcp_file  # noqa: PLC0415 (the client's libraries)

        write_mcp_file(root, endpoint, force=force)
        return
    project = survey(root)
    asks = not yes and _is_terminal()
    choice = _completed(_chosen(_choices(project, generate=dockerfile), context, asks=asks), asks=asks)
    files = {}
    if dockerfile:
        files = _generated(root, choice)
        choice = _with_dockerfile(choice)
    files[root / FILE] = _stager_yml(choice)
    lines = _server_lines(root, project)
    if config is not None:
        files[config] = lines
    _write(files, force=force)
    _explain(choice, project, root, "" if config else lines)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _repository(folder: Path) -> Path:
    root = folder.absolute().resolve()
    if not root.is_dir():
        _fail(f"There is no folder {root}.")
    outer = next((parent for parent in (root, *root.parents) if (parent / ".git").exists()), root)
    if outer != root:
        _fail(f"{FILE} belongs at the repository's root. Run `stager init {outer}`.")
    return root


def _choices(project: Project, *, generate: bool) -> list[_Choice]:
    """The applications, the most likely one first.

    Args:
        generate: whether Dockerfiles of the repository are left out.
    """
    detected = {each.folder: each for each in project.applications}
    primary = [each for each in project.dockerfiles if not each.is_secondary]
    found = [] if generate else primary or ([] if detected else list(project.dockerfiles))
    if found:
        return [_of_dockerfile(each, detected.get(each.context)) for each in found]
    return [_Choice(None, each, each.port, each.health_path) for each in project.applications]


def _of_dockerfile(dockerfile: Dockerfile, detected: Detected | None) -> _Choice:
    return _Choice(dockerfile, detected, dockerfile.port, detected.health_path if detected else "")


def _chosen(choices: list[_Choice], context: str, *, asks: bool) -> _Choice:
    """Choose an application: that of a folder, by the question, or the first."""
    if not choices:
        _fail(
            "No Dockerfile was found, and no framework is detected. Add a Dockerfile, or a Procfile with a "
            "line `web:` beside the file with the dependencies."
        )
    if context:
        wanted = context.strip("/") or "."
        named = next((each for each in choices if each.folder == wanted), None)
        folders = ", ".join(dict.fromkeys(each.folder for each in choices))
        return named or _fail(f"There is no application in the folder {context}. Found: {folders}.")
    if len(choices) == 1:
        return choices[0]
    typer.echo("The repository has several applications:")
    for number, choice in enumerate(choices, 1):
        typer.echo(f"  {number}. {choice.title}")
    if not asks:
        typer.echo("Using the first; --context chooses another.")
        return choices[0]
    return choices[_ask_number("Which one", 1, len(choices)) - 1]


def _ask_number(question: str, default: int, highest: int) -> int:
    while True:
        answer: int = typer.prompt(question, default=default, type=int)
        if 1 <= answer <= highest:
            return answer
        typer.echo(f"It should be a number from 1 to {highest}.")


def _completed(choice: _Choice, *, asks: bool) -> _Choice:
    """Ask for the port, if no Dockerfile says it, and for the path of the health check."""
    guess = choice.port or (choice.detected.port if choice.detected else None)
    if not asks:
        return replace(choice, port=guess)
    port = guess
    if choice.port is None:
        port = _ask_number("Port that the application listens on", guess or 8080, 65_535)
    path: str = typer.prompt("Path of the health check", default=choice.health_path or "/")
    return replace(choice, port=port, health_path="" if path == "/" else f"/{path.lstrip('/')}")


def _stager_yml(choice: _Choice) -> str:
    """The text of `.stager.yml`."""
    lines = ["# How Stager previews this repository.", *_build_lines(choice)]
    if choice.port:
        lines.append(f"port: {choice.port}")
    if choice.health_path:
        lines.append(f"health_path: {_scalar(choice.health_path)}")
    return "\n".join(lines) + "\n"


def _build_lines(choice: _Choice) -> list[str]:
    if choice.dockerfile is None:
        if choice.folder == ".":
            return [f"build: {AUTO}"]
        return ["build:", "  auto: true", f"  context: {_scalar(choice.folder)}"]
    if choice.dockerfile.dockerfile == "Dockerfile":
        return [f"build: {_scalar(choice.folder)}"]
    name = _scalar(choice.dockerfile.dockerfile)
    return ["build:", f"  context: {_scalar(choice.folder)}", f"  dockerfile: {name}"]


def _scalar(text: str) -> str:
    """A text in YAML: as it is where that is unambiguous, else in double quotes."""
    is_plain = _PLAIN.fullmatch(text) is not None and yaml.safe_load(text) == text
    return text if is_plain and text != AUTO else json.dumps(f"./{text}" if text == AUTO else text)


def _generated(root: Path, choice: _Choice) -> dict[Path, str]:
    """The generated Dockerfile, and the `.dockerignore` where there is none."""
    assert choice.detected is not None  # noqa: S101
    folder = root / choice.folder
    files = {folder / "Dockerfile": choice.detected.dockerfile}
    if choice.detected.context:  # BuildKit reads it instead of the `.dockerignore` of another folder.
        files[folder / "Dockerfile.dockerignore"] = choice.detected.dockerignore
    elif not (folder / ".dockerignore").exists():
        files[folder / ".dockerignore"] = choice.detected.dockerignore
    return files


def _with_dockerfile(choice: _Choice) -> _Choice:
    """The choice after its generated Dockerfile is written."""
    path = posixpath.normpath(posixpath.join(choice.folder, "Dockerfile"))
    context = (choice.detected.context if choice.detected else "") or choice.folder
    return replace(choice, dockerfile=Dockerfile(path, context, choice.port))


def _server_lines(root: Path, project: Project) -> str:
    """The application's entry in the server's configuration."""
    remote = _GITHUB.search(_git_config(root))
    name = slugify(remote[2] if remote else root.name) or "app"
    lines = [
        "images:",
        f"  {name}:",
        *([f"    repo: {remote[1]}/{remote[2]}"] if remote else []),
        "    build: auto",
    ]
    secrets = [each for each in project.variables if each.required or each.is_secret]
    if secrets:
        lines.append(f"    # secrets:    # {secrets[0].source} declares them")
        lines += [f'    #   {each.name}: "${{{each.name}}}"' for each in secrets[:MOST_SECRETS]]
    return "\n".join(lines) + "\n"


def _git_config(root: Path) -> str:
    try:
        return (root / ".git" / "config").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _write(files: dict[Path, str], *, force: bool) -> None:
    existing = [path for path in files if path.exists() or path.is_symlink()]
    if existing and not force:
        names = " and ".join(map(str, existing))
        _fail(f"{names} {'exist' if len(existing) > 1 else 'exists'} already. --force overwrites.")
    for path, text in files.items():
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            _fail(f"{path} can't be written: {error.strerror}.")
        typer.echo(f"Wrote {path}.")


def _explain(choice: _Choice, project: Project, root: Path, server_lines: str) -> None:
    typer.echo(f"\n{choice.title}{f', port {choice.port}' if choice.port else ''}.")
    for sentence in (*choice.detected.why, *choice.detected.notes) if choice.detected else ():
        typer.echo(f"  {sentence}")
    if choice.port is None:
        typer.echo(f"  No port was found: set `port` in {FILE}, or give the Dockerfile an EXPOSE line.")
    if project.compose and (others := [each.name for each in project.compose.services if each.image]):
        names = ", ".join(others)
        typer.echo(
            f"  {project.compose.path} has further services: {names}. "
            f"Write `compose: true` into {FILE} to run them, too."
        )
    if missing := [each for each in project.variables if each.required]:
        typer.echo(f"  Variables to set: {_names(missing)}.")
    if server_lines:
        typer.echo(f"\nAdd to the server's config.yml:\n\n{server_lines}")
    typer.echo(
        f"Next: try it with `{' '.join(filter(None, ('stager up', _shown(root))))}`, then commit {FILE}."
    )


def _names(variables: list[Variable]) -> str:
    more = "" if len(variables) <= MOST_SECRETS else f" and {len(variables) - MOST_SECRETS} more"
    return ", ".join(each.name for each in variables[:MOST_SECRETS]) + more


def _shown(root: Path) -> str:
    return "" if root == Path.cwd() else str(root)


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
