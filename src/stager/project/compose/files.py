"""Loads the files of a Compose project: overrides, includes, and services that extend others."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from stager.project.compose.document import parse
from stager.project.compose.environment import Environment
from stager.project.compose.findings import Findings
from stager.project.compose.keys import FILE, INCLUDE
from stager.project.compose.merging import merge, merged
from stager.project.compose.result import Place
from stager.project.compose.value import Refused, Value
from stager.project.tree import MAX_TEXT, Tree

MAX_FILES = 20
MAX_EXTENDS = 10
"""Services that extend one another."""

Model = dict[str, Value]
"""The top level of a project."""

_SECTIONS = ("services", "volumes", "networks", "configs", "secrets")


@dataclass(slots=True)
class Files:
    """Loads files of the repository.

    Args:
        paths: those that were loaded, in their order.
        environments: by file; the variables that each uses.
    """

    tree: Tree
    findings: Findings
    paths: list[str] = field(default_factory=list)
    environments: dict[str, Environment] = field(default_factory=dict)
    _broken: set[tuple[str, str]] = field(default_factory=set)
    """Services with variables that can't be replaced, by their file."""

    def project(self, paths: tuple[str, ...], folder: str, environment: Environment, place: Place) -> Model:
        """Return the files merged, with what they include.

        Args:
            paths: later ones override earlier ones.
            folder: the folder that relative paths start from.
            place: what names the files.
        """
        found: Model = {}
        for path in paths:
            loaded = self.findings.attempt({}, self._loaded, path, folder, environment, place)
            included = loaded.pop("include", None)
            found = merged(found, self._extended(loaded, environment))
            if included is not None:
                self._include(found, included, environment)
        return found

    def _loaded(self, path: str, folder: str, environment: Environment, place: Place) -> Model:
        if len(self.paths) >= MAX_FILES:
            raise Refused(place, f"The project has more than {MAX_FILES} files.")
        if not self.tree.has(path):
            raise Refused(place, f"There is no file {path} in the repository.")
        text = self.tree.text(path)
        self.paths.append(path)
        self.environments[path] = environment
        if not text:
            what = f"The file is empty, larger than {MAX_TEXT >> 10} KiB, or not text in UTF-8."
            raise Refused(Place(path), what)
        mapping = parse(text, path, folder).mapping("A Compose file")
        self.findings.check(FILE, mapping)
        services = mapping.get("services")
        rest = {
            key: environment.interpolation.value(value) for key, value in mapping.items() if key != "services"
        }
        return rest if services is None else {**rest, "services": self._services(services, path, environment)}

    def _services(self, services: Value, path: str, environment: Environment) -> Value:
        """The services with their variables replaced."""
        found: Model = {}
        for name, value in services.mapping("`services`").items():
            with self.findings.about(name):
                found[name] = self._service(name, value, path, environment)
        return services.with_data(found)

    def _service(self, name: str, service: Value, path: str, environment: Environment) -> Value:
        """A service without the keys whose variables can't be replaced."""
        if not isinstance(service.data, dict):
            return service
        found: Model = {}
        for key, value in service.data.items():
            try:
                found[key] = environment.interpolation.value(value)
            except Refused as error:
                self.findings.refuse(error)
                self._broken.add((path, name))
        return Value(found, service.place, service.folder, service.tag)

    def _include(self, model: Model, included: Value, environment: Environment) -> None:
        entries = self.findings.attempt([], included.items, "`include`")
        for entry in entries:
            other = self.findings.attempt({}, self._included, entry, environment)
            for section in _SECTIONS:
                if section in other:
                    self.findings.attempt(None, _add, model, other, section)

    def _included(self, entry: Value, environment: Environment) -> Model:
        given = entry.data if isinstance(entry.data, dict) else {"path": entry}
        self.findings.check(INCLUDE, given)
        if "path" not in given:
            raise entry.refuse("`include` needs a `path`.", "Write it like `include: [other.yaml]`.")
        paths = tuple(item.path("The included file") for item in given["path"].items("`path`"))
        if not paths:
            raise entry.refuse("`include` needs a `path`.", "Write it like `include: [other.yaml]`.")
        folder = posixpath.dirname(paths[0]) or "."
        if "project_directory" in given:
            folder = given["project_directory"].path("`project_directory`")
        files = given["env_file"].items("`env_file`") if "env_file" in given else []
        names = tuple(item.path("`env_file`") for item in files)
        return self.project(paths, folder, environment.below(folder, names), entry.place)

    def _extended(self, model: Model, environment: Environment) -> Model:
        """The model with each service merged over the one that it extends."""
        services = model.get("services")
        if services is None or not isinstance(services.data, dict):
            return model
        found: Model = {}
        for name, service in services.data.items():
            with self.findings.about(name):
                found[name] = self.findings.attempt(
                    service, self._base, service, services, environment, MAX_EXTENDS
                )
        return {**model, "services": services.with_data(found)}

    def _base(self, service: Value, services: Value, environment: Environment, left: int) -> Value:
        """A service merged over the one that it extends, and so on. Raises `Refused`."""
        if not isinstance(service.data, dict) or "extends" not in service.data:
            return service
        extends = service.data["extends"]
        if not left:
            raise extends.refuse(
                f"Services extend one another in a circle, or more than {MAX_EXTENDS} in a row."
            )
        given = extends.data if isinstance(extends.data, dict) else {"service": extends}
        name = given["service"].text("`service` of `extends`") if "service" in given else ""
        others = services
        if "file" in given:
            path = given["file"].path("`file` of `extends`")
            folder = posixpath.dirname(path) or "."
            loaded = self._loaded(path, folder, environment, given["file"].place)
            others = loaded.get("services", extends.with_data({}))
        base = others.mapping("`services`").get(name)
        if base is None:
            raise extends.refuse(f"There is no service {name!r} to extend.")
        if (base.place.file, name) in self._broken:
            raise extends.refuse(f"The service {name!r}, which this one extends, is refused.")
        whole = self._base(base, others, environment, left - 1)
        own = {key: value for key, value in service.data.items() if key != "extends"}
        return service.with_data(merge(whole, service.with_data(own)).data)


def _add(model: Model, other: Model, section: str) -> None:
    """Add a section of an included project. Raises `Refused` if something is declared differently in both."""
    own = model[section].mapping(f"`{section}`") if section in model else {}
    for name, value in other[section].mapping(f"`{section}`").items():
        if name in own and own[name] != value:
            where = own[name].place
            raise value.refuse(f"`{section}.{name}` is declared in {where} as well.", "Rename one of them.")
        own = {**own, name: value}
    model[section] = other[section].with_data(own)
