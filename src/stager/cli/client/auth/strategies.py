"""Finds the class that `auth_strategy` names: ours, a file in the client's folder, or an installed
package's."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.auth import secure_files
from stager.cli.client.auth.strategy import AuthStrategy

BUILT_IN = {
    "Basic": "stager.cli.client.auth.basic",
    "Github": "stager.cli.client.auth.github",
    "OpenIDConnect": "stager.cli.client.auth.oidc",
    "Token": "stager.cli.client.auth.token",
}
"""Ours, each with its module."""
SERVERS_NAMES = {
    "BasicAuthentication": "Basic",
    "GithubAuthentication": "Github",
    "OpenIDConnectAuthentication": "OpenIDConnect",
    "oidc": "OpenIDConnect",
}
"""What the server calls its end of the same."""
FOLDER = "auth_strategies"
"""Where files are looked for, below the client's folder."""
GROUP = "stager.auth_strategies"
"""The group of entry points by which an installed package offers its classes, by their names."""
FIRST = "Basic"
"""The one that is taken unless another is named."""


def find(name: str, environ: Mapping[str, str] = os.environ) -> type[AuthStrategy]:
    """The strategy of this name. Only ours are imported to find one of ours.

    Raises:
        ClientError: there is none, or it can't be used.
    """
    wanted = SERVERS_NAMES.get(name, name) or FIRST
    if wanted in BUILT_IN:
        return _class_in(importlib.import_module(BUILT_IN[wanted]), wanted)
    others = dict(_others(environ))
    if wanted in others:
        return others[wanted]
    known = [*BUILT_IN, *others]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(known)}."
    raise ClientError(f"There is no auth_strategy {name}.", hint=hint, code=Code.USAGE)


def name_of(cls: type[AuthStrategy]) -> str:
    """What `auth_strategy` calls it."""
    return cls.__name__


def _others(environ: Mapping[str, str]) -> Iterator[tuple[str, type[AuthStrategy]]]:
    for entry in entry_points(group=GROUP):
        cls = _loaded(entry.value, entry.load)
        if inspect.isclass(cls) and issubclass(cls, AuthStrategy):
            yield name_of(cls), cls
    for path in sorted((secure_files.folder(environ) / FOLDER).glob("[!_]*.py")):
        module = _loaded(str(path), lambda path=path: _module_of(path))  # type: ignore[misc]
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, AuthStrategy) and cls.__module__ == module.__name__:
                yield name_of(cls), cls


def _loaded(origin: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (Exception, SystemExit) as error:
        raise ClientError(
            f"{origin} can't be imported: {type(error).__name__}: {error}", code=Code.USAGE
        ) from error


def _module_of(path: Path) -> ModuleType:
    loader = SourceFileLoader(f"_stager_auth_{path.stem}", str(path))
    module = ModuleType(loader.name)
    module.__file__ = str(path)
    loader.exec_module(module)
    return module


def _class_in(module: ModuleType, name: str) -> type[AuthStrategy]:
    cls: type[AuthStrategy] = getattr(module, name)
    return cls
