"""Reads a Compose file of a repository, with the files that it consists of, into services."""

from __future__ import annotations

import posixpath

from stager.domain.service import MAX_SERVICES, Stack
from stager.project.compose.environment import Environment
from stager.project.compose.files import Files, Model
from stager.project.compose.findings import Findings
from stager.project.compose.keys import FILE_OBJECT, NETWORK, VOLUME
from stager.project.compose.mounts import MountReader
from stager.project.compose.result import Options, Place, Reading
from stager.project.compose.service import Declared, Project, ServiceReader
from stager.project.compose.stack import Fitted, Fitter
from stager.project.compose.value import Refused, Value
from stager.project.tree import Tree

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""The names that Docker Compose looks for, in its order."""
OVERRIDES = (
    *("compose.override.yml", "compose.override.yaml"),
    *("docker-compose.override.yml", "docker-compose.override.yaml"),
)

DRIVERS = {"volumes": ("", "local"), "networks": ("", "default", "bridge", "overlay")}
SECTIONS = {"volumes": VOLUME, "networks": NETWORK, "configs": FILE_OBJECT, "secrets": FILE_OBJECT}

DEFAULTS = Options()


def read(tree: Tree, options: Options = DEFAULTS) -> Reading | None:
    """Return what the Compose file says; None if there is none. Never raises: what can't be run is refused.

    It reads files of the repository only, and takes time in proportion to their size: up to some seconds.
    """
    path = options.path or tree.first(*NAMES)
    return _Reader(tree, options, path).read() if path else None


class _Reader:
    """Reads one project.

    Args:
        path: its main file.
    """

    def __init__(self, tree: Tree, options: Options, path: str) -> None:
        self._tree = tree
        self._options = options
        self._path = path
        self._findings = Findings()
        self._files = Files(tree, self._findings)

    def read(self) -> Reading:
        """Return what the project says."""
        model = self._findings.attempt({}, self._model)
        services = self._findings.attempt({}, self._services, model)
        active = [name for name, value in services.items() if self._is_active(name, value)]
        if len(active) > MAX_SERVICES:
            text = f"{len(active)} services run; at most {MAX_SERVICES} can."
            self._findings.refuse(Refused(Place(self._path), text))
        fitted = Fitted((), "")
        if active or not self._findings.refusals(()):
            fitted = self._fitted(model, {name: services[name] for name in active[:MAX_SERVICES]}, services)
        for environment in self._files.environments.values():
            environment.report()
        return self._reading(fitted, frozenset(active))

    def _model(self) -> Model:
        folder = Value(posixpath.dirname(self._path), Place(self._path)).path("The Compose file")
        environment = Environment(self._tree, folder, self._options.variables, self._findings)
        override = self._tree.first(*OVERRIDES) if not self._options.path else ""
        paths = (self._path, override) if override else (self._path,)
        return self._files.project(paths, folder, environment, Place(self._path))

    def _services(self, model: Model) -> dict[str, Value]:
        if "services" not in model and not self._findings.refusals(()):
            raise Refused(Place(self._path), "The file has no `services`.")
        return {} if "services" not in model else model["services"].mapping("`services`")

    def _is_active(self, name: str, service: Value) -> bool:
        """Whether a service runs: it has none of the profiles or an active one, and isn't scaled to 0."""
        given = service.data if isinstance(service.data, dict) else {}
        with self._findings.about(name):
            items = (
                self._findings.attempt([], given["profiles"].items, "`profiles`")
                if "profiles" in given
                else []
            )
            profiles = {self._findings.attempt("", item.text, "A profile") for item in items}
        if profiles and not profiles & self._options.profiles and "*" not in self._options.profiles:
            return False
        if _is_scaled_to_zero(given):
            self._findings.guess(service.place, f"{name} doesn't run: it is scaled to 0.")
            return False
        return True

    def _fitted(self, model: Model, active: dict[str, Value], all_services: dict[str, Value]) -> Fitted:
        volumes = self._section(model, "volumes")
        networks = self._section(model, "networks")
        files = {section: self._file_objects(model, section) for section in ("configs", "secrets")}
        mounts = MountReader(self._tree, volumes.keys(), self._findings)
        declared: list[Declared] = []
        for name, value in active.items():
            environment = self._files.environments[value.place.file]
            project = Project(self._tree, environment, self._findings, mounts, files, frozenset(networks))
            with self._findings.about(name):
                declared.append(ServiceReader(name, value, project).read())
        others = all_services.keys() - active.keys()
        return Fitter(self._tree, self._options, self._path, declared, others, self._findings).fit()

    def _section(self, model: Model, section: str) -> dict[str, Value]:
        """The entries of a section of the file; those of other projects are refused."""
        entries = (
            self._findings.attempt({}, model[section].mapping, f"`{section}`") if section in model else {}
        )
        for name, value in entries.items():
            self._findings.attempt(None, self._check_entry, section, name, value)
        return {**entries, "default": Value(None, Place(self._path))} if section == "networks" else entries

    def _check_entry(self, section: str, name: str, value: Value) -> None:
        given = value.mapping(f"`{section}.{name}`")
        self._findings.check(SECTIONS[section], given)
        external = given.get("external")
        if external is not None and (isinstance(external.data, dict) or external.flag("`external`")):
            text = f"`{section}.{name}` is external: it belongs to the machine, or to another project."
            raise external.refuse(text, "Remove `external`; each preview has its own.")
        driver = given["driver"].text("`driver`") if "driver" in given else ""
        if driver not in DRIVERS.get(section, ("",)):
            raise given["driver"].refuse(f"The driver {driver[:40]!r} of `{section}.{name}` isn't supported.")

    def _file_objects(self, model: Model, section: str) -> dict[str, str]:
        """The files of `configs` or `secrets`, by name."""
        found: dict[str, str] = {}
        for name, value in self._section(model, section).items():
            found[name] = self._findings.attempt("", self._file_object, section, name, value)
        return found

    def _file_object(self, section: str, name: str, value: Value) -> str:
        given = value.mapping(f"`{section}.{name}`")
        if "file" not in given:
            return ""  # refused by its other keys, or by what follows
        path = given["file"].path("`file`")
        if not self._tree.has(path):
            raise given["file"].refuse(f"There is no file {path} in the repository.")
        return path

    def _reading(self, fitted: Fitted, active: frozenset[str]) -> Reading:
        findings = self._findings
        refusals, ignored = findings.refusals(active), findings.ignored(active)
        stack = None if refusals else Stack(fitted.services, fitted.main)
        return Reading(
            self._path,
            tuple(dict.fromkeys(self._files.paths)),
            stack,
            fitted.services,
            ignored,
            findings.guesses(active),
            findings.proposals(active),
            refusals,
        )


def _is_scaled_to_zero(service: dict[str, Value]) -> bool:
    deploy = service["deploy"].data if "deploy" in service else None
    replicas = deploy.get("replicas") if isinstance(deploy, dict) else None
    return any(value is not None and value.data in (0, "0") for value in (service.get("scale"), replicas))
