"""Finds the class that `auth_strategy` names: a built-in one, one in the client's folder, or one of an
installed package."""

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
"""The built-in strategies, with their modules."""
SERVER_NAMES = {
    "BasicAuthentication": "Basic",
    "GithubAuthentication": "Github",
    "OpenIDConnectAuthentication": "OpenIDConnect",
    "oidc": "OpenIDConnect",
}
"""The names of the server's counterparts, which are accepted as well."""
FOLDER = "auth_strategies"
"""The folder of custom strategies, in the client's folder."""
GROUP = "stager.auth_strategies"
"""The entry point group of strategies in installed packages."""
DEFAULT = "Basic"


def find(name: str, environ: Mapping[str, str] = os.environ) -> type[AuthStrategy]:
    """Return the strategy of this name. Other modules are imported only if it isn't a built-in one.

    Raises:
        ClientError: there is none, or it can't be imported.
    """
    wanted = SERVER_NAMES.get(name, name) or DEFAULT
    if wanted in BUILT_IN:
        return _class_in(importlib.import_module(BUILT_IN[wanted]), wanted)
    others = dict(_others(environ))
    if wanted in others:
        return others[wanted]
    known = [*BUILT_IN, *others]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {close[0]}?" if close else f"The strategies are {', '.join(known)}."
    raise ClientError(f'There is no auth_strategy "{name}".', hint=hint, code=Code.USAGE)


def name_of(cls: type[AuthStrategy]) -> str:
    """Return the name by which `auth_strategy` selects it."""
    return cls.__name__


def _others(environ: Mapping[str, str]) -> Iterator[tuple[str, type[AuthStrategy]]]:
    for entry in entry_points(group=GROUP):
        cls = _load(entry.value, entry.load)
        if inspect.isclass(cls) and issubclass(cls, AuthStrategy):
            yield name_of(cls), cls
    for path in sorted((secure_files.folder(environ) / FOLDER).glob("[!_]*.py")):
        module = _load(str(path), lambda path=path: _module_of(path))  # type: ignore[misc]
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, AuthStrategy) and cls.__module__ == module.__name__:
                yield name_of(cls), cls


def _load(origin: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (Exception, SystemExit) as error:
        raise ClientError(
            f"Can't import {origin}: {type(error).__name__}: {error}", code=Code.USAGE
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
