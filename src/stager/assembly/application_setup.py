"""Adds applications in the browser: checks them with the loader, stores them in the state folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from stager.domain.errors import Fault, Refused
from stager.ports.setup import ApplicationSetup, NewApplication
from stager.settings.loading import setup_file
from stager.settings.loading.document import Data
from stager.settings.loading.loader import load
from stager.settings.loading.problems import ConfigurationError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Names that are valid as names of Docker images and of folders."""

BUILDS: dict[str, dict[str, Data]] = {"auto": {"build": "auto"}, "dockerfile": {"build": "."}, "image": {}}


class BrowserSetup(ApplicationSetup):
    """See the port.

    Args:
        configuration: the path of `config.yml`; None without one.
        state: the state folder.
        reload: restarts the control plane with the configuration as it is then.
    """

    def __init__(self, configuration: Path | None, state: Path, reload: Callable[[], None]) -> None:
        self._configuration = configuration
        self._path = state / setup_file.FILE_NAME
        self._repositories = state / "repositories"
        self._reload = reload
        self._waiting: set[str] = set()
        self.file = str(self._path)

    def add(self, application: NewApplication) -> str:
        name = application.name or application.repository.rpartition("/")[2].lower()
        if not NAME.fullmatch(name):
            raise _invalid(
                "The name must consist of lower-case letters, digits, dots and hyphens, such as `shop`."
            )
        try:
            self._add(name, application)
        except ConfigurationError as error:
            problems = (str(problem).removeprefix(f"images.{name}.") for problem in error.problems)
            raise _invalid("; ".join(problems) + ".") from None
        self._waiting.add(name)
        self._reload()
        return name

    def is_waiting(self, name: str) -> bool:
        return name in self._waiting

    def _add(self, name: str, application: NewApplication) -> None:
        entries = {key: dict(below) for key, below in setup_file.read(self._path).items()}
        known = load(self._configuration, environ=os.environ).settings.images
        if name in known:
            raise _invalid(f"There is an application {name} already.")
        entries.setdefault("images", {})[name] = _entry(application)
        if not application.repository:
            entries.setdefault("local_forge", {})[name] = str(self._repositories / f"{name}.git")
        load(self._configuration, environ=os.environ, added=entries)
        self._write(setup_file.text_of(entries))

    def _write(self, text: str) -> None:
        draft = self._path.with_suffix(".new")
        try:
            self._repositories.mkdir(mode=0o700, exist_ok=True)
            draft.write_text(text, "utf-8")
            draft.chmod(0o600)
            draft.replace(self._path)
        except OSError as error:
            raise Fault(
                f"{self._path} can't be written: {error.strerror}.",
                hint="Free disk space, or add the application to config.yml.",
                reason="setup-unwritable",
            ) from None


def _entry(application: NewApplication) -> dict[str, Data]:
    if application.build not in BUILDS:
        raise _invalid("Choose how the image is built.")
    entry: dict[str, Data] = dict(BUILDS[application.build])
    if application.build == "image":
        if not application.image:
            raise _invalid("Enter the name of the Docker image.")
        entry["image"] = application.image
    if application.repository:
        entry["repo"] = application.repository
    if application.port:
        entry["port"] = int(application.port) if application.port.isdecimal() else application.port
    if application.command:
        entry["command"] = application.command
    if application.env:
        entry["env"] = dict(application.env)
    if application.secrets:
        entry["secrets"] = dict(application.secrets)
    return {key: _literal(value) for key, value in entry.items()}


def _literal(value: Data) -> Data:
    """Refuse references: the page mustn't read variables and files of the server."""
    if isinstance(value, dict):
        return {name: _literal(below) for name, below in value.items()}
    if isinstance(value, str) and ("${" in value or value.startswith("file:")):
        raise _invalid("References such as `${NAME}` and `file:` can only be used in config.yml.")
    return value


def _invalid(message: str) -> Refused:
    return Refused(message, reason="setup-invalid")
