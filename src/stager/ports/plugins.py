"""Discovers pluggable classes: built-ins, files beside the configuration, installed packages.

All are found the same way. Import errors are collected with file and line, and reported with the
configuration's other errors. There is no global registry: `discover` returns a value.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from stager.domain.errors import Refused
from stager.ports.handlers import (
    AuthenticationStrategy,
    ContainerRotationStrategy,
    EventListener,
    Handler,
    PostLaunchHandler,
    PreKillHandler,
    PreLaunchHandler,
)

Kind = Literal[
    "authentication_strategy",
    "container_rotation_strategy",
    "event_listeners",
    "pre_launch_handlers",
    "post_launch_handlers",
    "pre_kill_handlers",
]
"""The settings that name classes."""

KINDS: Mapping[Kind, type[Handler]] = {
    "authentication_strategy": AuthenticationStrategy,
    "container_rotation_strategy": ContainerRotationStrategy,
    "event_listeners": EventListener,
    "pre_launch_handlers": PreLaunchHandler,
    "post_launch_handlers": PostLaunchHandler,
    "pre_kill_handlers": PreKillHandler,
}
"""The base class of each kind."""

BUILT_IN = (
    "stager.auth.basic",
    "stager.auth.github",
    "stager.auth.oidc",
    "stager.handlers.authorization",
    "stager.handlers.calls",
    "stager.handlers.comments",
    "stager.handlers.inspector",
    "stager.handlers.notifications",
    "stager.handlers.pull_requests",
    "stager.handlers.rotation",
    "stager.handlers.variables",
)
"""Stager's own modules; by name, because the import contracts forbid importing them here."""

FOLDERS = ("plugins", "custom_request_handlers")
"""Folders of plugins beside the configuration; the second name is the first Stager's."""

GROUP = "stager.handlers"
"""The entry-point group of installed packages."""

OFFERED = ("settings", "previews", "users", "logins")
"""Names of arguments that a constructor may have."""

OURS = "Stager"
_packages = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Plugin:
    """A class that the configuration may name.

    Args:
        origin: where it was found: `Stager`, `plugins/hello.py`, `stager-hello 1.0`.
    """

    cls: type[Handler]
    origin: str

    @property
    def name(self) -> str:
        return self.cls.__name__

    @property
    def short_name(self) -> str:
        return self.cls.short_name

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The settings that may name it."""
        return tuple(kind for kind in get_args(Kind) if issubclass(self.cls, KINDS[kind]))

    @property
    def summary(self) -> str:
        """The first paragraph of the class's docstring."""
        return " ".join((inspect.getdoc(self.cls) or "").partition("\n\n")[0].split())

    @property
    def settings(self) -> type[Any] | None:
        """The model of its settings, if it has any."""
        return getattr(self.cls, "Settings", None)

    def make(self, offers: Mapping[str, object]) -> Handler:
        """Create an instance.

        Args:
            offers: the available arguments, by name.

        Raises:
            Refused: the constructor raised an error.
        """
        try:
            return self.cls(**{name: offers[name] for name in _arguments_of(self.cls)})
        except Exception as error:
            raise Refused(
                f"{self.name} ({self.origin}) can't be used: {error_in_words(error)}", reason="plugin-broken"
            ) from error


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """Why a plugin can't be used.

    Args:
        place: `plugins/hello.py:3`, or the package's name.
    """

    place: str
    message: str


class PluginRegistry:
    """The discovered pluggable classes.

    Args:
        found: the usable ones; of two with the same name, the second is a problem.
    """

    def __init__(self, found: Iterable[Plugin] = (), problems: Iterable[PluginProblem] = ()) -> None:
        self._by_name: dict[str, Plugin] = {}
        self.problems = list(problems)
        for plugin in found:
            self._add(plugin)

    def _add(self, plugin: Plugin) -> None:
        taken = {name for other in self for name in (other.name, other.short_name) if name}
        twice = taken & {plugin.name, plugin.short_name}
        if twice and self._by_name.get(plugin.name, plugin).cls is not plugin.cls:
            name = min(twice)
            others = next(p.origin for p in self if name in (p.name, p.short_name))
            self.problems.append(PluginProblem(plugin.origin, f"has {name}, which {others} has, too"))
            return
        if (problem := _problem_of(plugin)) is not None:
            self.problems.append(PluginProblem(plugin.origin, problem))
            return
        self._by_name[plugin.name] = plugin

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._by_name.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PluginRegistry) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def get(self, name: str) -> Plugin:
        """The class with this full name. Raises `KeyError`."""
        return self._by_name[name]

    def of_kind(self, kind: Kind) -> list[Plugin]:
        """The classes that this setting may name."""
        return [plugin for plugin in self if kind in plugin.kinds]


def discover(folder: Path | None = None, *, installed: bool = True) -> PluginRegistry:
    """Import all plugins.

    Args:
        folder: the configuration's folder; None without a configuration.
        installed: whether to include installed packages.
    """
    problems: list[PluginProblem] = []
    found = [Plugin(cls, OURS) for name in BUILT_IN for cls in classes_of(importlib.import_module(name))]
    for entry in entry_points(group=GROUP) if installed else ():
        found += _imported(_entry_origin(entry), lambda entry=entry: entry.load(), problems)  # type: ignore[misc]
    for place in FOLDERS if folder else ():
        found += _in_folder(Path(folder or "") / place, problems)
    return PluginRegistry(found, problems)


def classes_of(found: object) -> Iterator[type[Handler]]:
    """The object itself if it is a pluggable class, or the pluggable classes that a module defines."""
    if isinstance(found, types.ModuleType):
        for _, cls in inspect.getmembers(found, inspect.isclass):
            if cls.__module__ == found.__name__ and _is_pluggable(cls):
                yield cls
    elif isinstance(found, type) and _is_pluggable(found):
        yield found


def _is_pluggable(cls: type) -> TypeGuard[type[Handler]]:
    """Whether it derives from a kind's base class, and isn't an abstract base of others."""
    is_base = inspect.isabstract(cls) and bool(cls.__subclasses__())
    return issubclass(cls, tuple(KINDS.values())) and not is_base


def _problem_of(plugin: Plugin) -> str | None:
    missing = ", ".join(sorted(getattr(plugin.cls, "__abstractmethods__", ())))
    if missing:
        return f"{plugin.name} lacks the method {missing}"
    unknown = [name for name in _arguments_of(plugin.cls) if name not in OFFERED]
    if unknown:
        return f"{plugin.name} asks for {unknown[0]}; what a constructor may ask for is {', '.join(OFFERED)}"
    if "settings" in _arguments_of(plugin.cls) and plugin.settings is None:
        return f"{plugin.name} asks for settings, but has no class Settings"
    return None


def _arguments_of(cls: type[Handler]) -> list[str]:
    if cls.__init__ is object.__init__:
        return []
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _in_folder(folder: Path, problems: list[PluginProblem]) -> Iterator[Plugin]:
    """The classes in a folder's files. The files form a package, so that one may import another:
    `from .helper import ...`."""
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    if not files:
        return
    package = types.ModuleType(f"_stager_plugins_{next(_packages)}")
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    importlib.invalidate_caches()
    for path in files:
        name = f"{package.__name__}.{path.stem}"
        yield from _imported(
            f"{folder.name}/{path.name}",
            lambda name=name: importlib.import_module(name),  # type: ignore[misc]
            problems,
            path,
        )


def _imported(
    origin: str, load: Callable[[], object], problems: list[PluginProblem], path: Path | None = None
) -> Iterator[Plugin]:
    try:
        found = list(classes_of(load()))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a plugin's module may raise anything at import)
        place = f"{origin}:{line}" if (line := _line_of(error, path)) else origin
        problems.append(PluginProblem(place, f"can't be imported: {error_in_words(error)}"))
        return
    if not found and path is None:
        problems.append(PluginProblem(origin, "has no pluggable class"))
    yield from (Plugin(cls, origin) for cls in found)


def _line_of(error: BaseException, path: Path | None) -> int | None:
    if isinstance(error, SyntaxError):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno for f in reversed(frames) if path and Path(f.filename) == path), None)


def _entry_origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def error_in_words(error: BaseException) -> str:
    """`NameError: name 'x' is not defined`."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
