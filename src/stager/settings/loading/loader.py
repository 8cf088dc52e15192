"""Finds, loads and validates a configuration, and reports all problems at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from pydantic import ValidationError

from stager.ports.plugins import PluginRegistry, discover
from stager.settings.loading import document, setup_file
from stager.settings.loading.context import Context
from stager.settings.loading.document import Data
from stager.settings.loading.expansion import Expansion
from stager.settings.loading.lines import with_lines
from stager.settings.loading.problems import ConfigurationError, Problem, problems_of
from stager.settings.loading.warnings import warnings
from stager.settings.model import Settings
from stager.settings.plugins.available import Known, built_in
from stager.settings.plugins.sections import model_for, problems_with_sections

FILE_NAME = "config.yml"
VARIABLE = "STAGER_CONFIG"
ENVIRONMENTS = frozenset({"development", "test", "production"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration.

    Args:
        path: the file it was read from; None if there is none.
        warnings: one sentence each, with its line where it is known.
        plugins: the classes that it may name.
        text: the file's content.
    """

    settings: Settings
    path: Path | None
    warnings: tuple[str, ...]
    plugins: PluginRegistry = field(default_factory=built_in)
    text: str = field(default="", repr=False)


def find(option: Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    """Return the path of the configuration: `option`, or `STAGER_CONFIG`, or `config.yml` in `folder`.

    None if neither of the first two is given and the third doesn't exist.
    """
    named = option or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if named is not None:
        return folder / named
    default = folder / FILE_NAME
    return default if default.exists() else None


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    known: Known | None = None,
    added: setup_file.Entries | None = None,
) -> Loaded:
    """Load a configuration, or the defaults without a file, with the entries that were added in the browser.

    Args:
        environ: the environment variables that `${...}` and `DOCKER_HOST` refer to.
        known: the names of pluggable classes; by default those built in, installed, or in folders beside the
            file.
        added: entries to check instead of those that were added.

    Raises:
        ConfigurationError: it is invalid; has all problems.
    """
    folder = path.absolute().parent if path else Path.cwd()
    known = known or Known(discover(path.absolute().parent if path else None))
    text = _text(path) if path else ""
    with _lines_of(text):
        written = document.read(text, path.name) if path else None
        context, name = Context(folder, environ, known), path.name if path else ""
        added_in = _state_dir(written, name, context) / setup_file.FILE_NAME
        entries = setup_file.read(added_in) if added is None else added
        settings = _settings(setup_file.merged(written, entries), name, context)
    own = setup_file.applications(written, entries)
    found = chain(warnings(settings, own), setup_file.conflicts(written, entries, added_in))
    return Loaded(settings, path, _sentences(found, text), known.plugins, text)


@contextmanager
def _lines_of(text: str) -> Iterator[None]:
    """Add the lines in this document to the problems of a `ConfigurationError`."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(error.name, with_lines(error.problems, text)) from error.__cause__


def _sentences(found: Iterator[Problem], text: str) -> tuple[str, ...]:
    lined = with_lines(found, text)
    return tuple(f"line {each.line}: {each.message}" if each.line else each.message for each in lined)


def state_dir_of(path: Path | None, *, environ: Mapping[str, str]) -> Path:
    """Return `state_dir` without validating the rest of the configuration, so that commands find a running
    Stager even if a variable that it was started with isn't set here.

    Raises:
        ConfigurationError: the document or `state_dir` is invalid.
    """
    text = _text(path) if path else ""
    folder = path.absolute().parent if path else Path.cwd()
    with _lines_of(text):
        data = document.read(text, path.name) if path else None
        return _state_dir(data, path.name if path else "", Context(folder, environ, Known()))


def _state_dir(written: Data, name: str, context: Context) -> Path:
    """The `state_dir` of a configuration whose other keys aren't validated."""
    only = {key: written[key] for key in ("state_dir",) if isinstance(written, dict) and key in written}
    return _settings(only, name, replace(context, known=Known())).state_dir


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(path.name, [Problem("", f"can't be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(path.name, [Problem("", "isn't text in UTF-8")]) from error


def _settings(written: Data, name: str, context: Context) -> Settings:
    _refuse_per_environment(written, name)
    expansion = Expansion(context.environ, context.folder)
    data = expansion.expand(written)
    problems = [*_of_plugins(context.known.plugins), *expansion.problems]
    if problems and problems_with_sections(context.known.plugins):
        raise ConfigurationError(name, problems)
    model = model_for(context.known.plugins)
    try:
        settings = model.model_validate(data, context=context)
    except ValidationError as error:
        unresolved = {problem.path for problem in problems}
        found = problems_of(error, model, written)
        problems = [*problems, *(problem for problem in found if problem.path not in unresolved)]
    if problems:
        raise ConfigurationError(name, problems)
    return settings


def _of_plugins(plugins: PluginRegistry) -> list[Problem]:
    found = [*plugins.problems, *problems_with_sections(plugins)]
    return [Problem(problem.place, problem.message) for problem in found]


def _refuse_per_environment(written: Data, name: str) -> None:
    if isinstance(written, dict) and written and written.keys() <= ENVIRONMENTS:
        message = "sections per environment aren't supported; move the settings to the top level"
        raise ConfigurationError(name, [Problem.at((key,), message) for key in written])
