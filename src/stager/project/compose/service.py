"""Reads a service of a Compose file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Concatenate, ParamSpec, TypeVar

from stager.domain.recipe import Recipe
from stager.domain.service import Condition, Mount, ServiceCheck, ServiceSpec
from stager.project.compose import scalars
from stager.project.compose.build import read_build
from stager.project.compose.confinement import check_confinement
from stager.project.compose.env_files import MAX_VARIABLES, propose, read_env_file
from stager.project.compose.environment import Environment
from stager.project.compose.findings import Findings
from stager.project.compose.health import read_check
from stager.project.compose.keys import DEPENDENCY, HEALTHCHECK, SERVICE
from stager.project.compose.mounts import Entry, MountReader, target
from stager.project.compose.ports import read_ports
from stager.project.compose.result import Place
from stager.project.compose.value import Value
from stager.project.tree import Tree

CONDITIONS = {
    "service_started": Condition.STARTED,
    "service_healthy": Condition.HEALTHY,
    "service_completed_successfully": Condition.COMPLETED,
}
NULL_FILE = "/dev/null"

T = TypeVar("T")
P = ParamSpec("P")

_VARIABLE = re.compile(r"[^=\0\s]+")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,500}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_SIGNAL = re.compile(r"(SIG)?[A-Z][A-Z0-9+-]*|\d{1,2}")


@dataclass(frozen=True, slots=True)
class Declared:
    """A service as the file declares it, before it is fitted to the others.

    Args:
        spec: with the file's own names.
        value: the service in the file.
        ports: those of `ports`.
        exposed: those of `expose`.
        mounts: those of the repository and volumes.
        optional: dependencies that may be left out.
        links: aliases, each with the service that it stands for.
        tag: the name of the image that it builds; empty for none.
        is_job: whether it is declared to run to its end.
    """

    spec: ServiceSpec
    value: Value
    ports: tuple[int, ...] = ()
    exposed: tuple[int, ...] = ()
    mounts: tuple[Entry, ...] = ()
    optional: frozenset[str] = frozenset()
    links: tuple[tuple[str, str], ...] = ()
    tag: str = ""
    is_job: bool = False

    @property
    def name(self) -> str:
        """Its name in the file."""
        return self.spec.name

    def place_of(self, key: str) -> Place:
        """Return the line of one of its keys."""
        given = self.value.data if isinstance(self.value.data, dict) else {}
        return given[key].place if key in given else self.value.place


@dataclass(frozen=True, slots=True)
class Project:
    """What a service may refer to.

    Args:
        files: by section (`configs`, `secrets`) and name, the file of the repository.
        networks: the declared networks.
    """

    tree: Tree
    environment: Environment
    findings: Findings
    mounts: MountReader
    files: Mapping[str, Mapping[str, str]]
    networks: frozenset[str]


class ServiceReader:
    """Reads one service."""

    def __init__(self, name: str, value: Value, project: Project) -> None:
        self._name = name
        self._value = value
        self._project = project
        self._findings = project.findings
        self._given = project.findings.attempt({}, value.mapping, f"The service {name!r}")

    def read(self) -> Declared:
        """Return the service; problems are recorded."""
        self._findings.check(SERVICE, self._given)
        for error in check_confinement(self._given):
            self._findings.refuse(error)
        build = self._part("build", None, self._build)
        mounts = self._part("volumes", (), self._project.mounts.read)
        depends_on, optional = self._dependencies()
        return Declared(
            replace(
                self._command_parts(),
                image="" if build else self._image(),
                build=build,
                variables=self._variables(),
                check=self._part("healthcheck", None, self._check),
                depends_on=depends_on,
                aliases=self._aliases(),
                tmpfs=(*self._tmpfs(), *(each.mount.target for each in mounts if each.is_temporary)),
                memory=self._limit("mem_limit", "memory", scalars.size),
                cpus=self._limit("cpus", "cpus", scalars.cores),
                mounts=(*self._file_mounts("configs"), *self._file_mounts("secrets")),
            ),
            self._value,
            self._part("ports", (), read_ports, "`ports`"),
            self._part("expose", (), read_ports, "`expose`"),
            tuple(each for each in mounts if not each.is_temporary),
            optional,
            self._part("links", (), _links),
            self._image() if build else "",
            self._part("x-stager-job", False, Value.flag, "`x-stager-job`"),
        )

    def _part(
        self,
        key: str,
        default: T,
        read: Callable[Concatenate[Value, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """What a function reads from the value of a key; the default without the key, and if it refuses."""
        if key not in self._given:
            return default
        return self._findings.attempt(default, read, self._given[key], *args, **kwargs)

    def _build(self, value: Value) -> Recipe | None:
        if value.data is None:
            return None
        environment = self._project.environment
        return read_build(value, self._project.tree, environment.lookup, self._findings)

    def _image(self) -> str:
        if "image" not in self._given and not self._given.get("build"):
            missing = self._value.refuse(f"The service {self._name!r} has neither `image` nor `build`.")
            self._findings.refuse(missing)
        return self._part("image", "", _matching, _IMAGE, "`image`")

    def _check(self, value: Value) -> ServiceCheck | None:
        self._findings.check(HEALTHCHECK, value.mapping("`healthcheck`"))
        return read_check(value)

    def _command_parts(self) -> ServiceSpec:
        for key in ("command", "entrypoint"):
            rest = self._part(key, "", scalars.rest_of, f"`{key}`")
            if rest:
                place = self._given[key].place
                why = "Compose runs no shell for it; write [sh, -c, '...'] for one"
                self._findings.ignore(place, f"`{rest[:60]}` at the end of `{key}` of {self._name!r}", why)
        return ServiceSpec(
            self._name,
            command=self._part("command", None, scalars.words, "`command`"),
            entrypoint=self._part("entrypoint", None, scalars.words, "`entrypoint`"),
            user=self._part("user", "", _matching, _USER, "`user`"),
            working_dir=self._part("working_dir", "", _working_dir),
            stop_signal=self._part("stop_signal", "", _matching, _SIGNAL, "`stop_signal`"),
            stop_grace_period=self._part("stop_grace_period", None, scalars.seconds, "`stop_grace_period`"),
            shared_memory=self._part("shm_size", None, scalars.size, "`shm_size`"),
        )

    def _variables(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for item in self._part("env_file", [], Value.items, "`env_file`"):
            found |= self._findings.attempt({}, self._of_file, item)
        for name, value in self._part("environment", [], _pairs, "`environment`"):
            found |= self._findings.attempt({}, self._variable, name, value)
        if len(found) > MAX_VARIABLES:
            self._findings.refuse(self._value.refuse(f"The service has more than {MAX_VARIABLES} variables."))
        return found

    def _variable(self, name: str, value: Value) -> dict[str, str]:
        if not _VARIABLE.fullmatch(name):
            raise value.refuse(f"{name[:80]!r} isn't the name of a variable.")
        text = (
            self._project.environment.lookup(name)
            if value.data is None
            else value.text(f"The variable {name}")
        )
        if text is None:
            self._findings.guess(value.place, f"{name} has no value; it isn't set.")
        return {} if text is None else {name: text}

    def _of_file(self, item: Value) -> Mapping[str, str]:
        given = item.data if isinstance(item.data, dict) else {"path": item}
        if unknown := given.keys() - {"path", "required", "format"}:
            raise item.refuse(f"`{min(unknown)}` isn't a key of an `env_file`.")
        if "path" not in given:
            raise item.refuse("An `env_file` needs a `path`.", "Write it like `env_file: settings.env`.")
        if given["path"].data == NULL_FILE:
            return {}
        path = given["path"].path("`env_file`")
        tree, interpolation = self._project.tree, self._project.environment.interpolation
        if tree.has(path):
            return read_env_file(tree, path, item.place, interpolation)
        if tree.has_folder(path) or tree.is_link_out(path):
            raise item.refuse(f"{path} isn't a file of the repository.")
        proposal, values = propose(tree, path, item.place, interpolation)
        if proposal.sample or "required" not in given or given["required"].flag("`required`"):
            self._findings.propose(proposal)
        return values

    def _dependencies(self) -> tuple[dict[str, Condition], frozenset[str]]:
        found: dict[str, Condition] = {}
        for _, name in self._part("links", (), _links):
            found[name] = Condition.STARTED
        given = self._part("depends_on", {}, _by_name)
        optional = set[str]()
        for name, value in given.items():
            entry = self._findings.attempt({}, value.mapping, "A dependency")
            self._findings.check(DEPENDENCY, entry)
            found[name] = self._findings.attempt(Condition.STARTED, _condition, entry)
            if "required" in entry and not self._findings.attempt(True, entry["required"].flag, "`required`"):
                optional.add(name)
        return found, frozenset(optional)

    def _aliases(self) -> tuple[str, ...]:
        found = [self._part("container_name", "", _matching, _ALIAS, "`container_name`")]
        for name, value in self._part("networks", {}, _by_name).items():
            if name not in self._project.networks:
                self._findings.refuse(value.refuse(f"The network {name!r} isn't declared."))
            found += self._findings.attempt([], _network_aliases, value)
        return tuple(dict.fromkeys(each for each in found if each and each != self._name))

    def _tmpfs(self) -> tuple[str, ...]:
        items = self._part("tmpfs", [], Value.items, "`tmpfs`")
        read = (self._findings.attempt("", _tmpfs, item) for item in items)
        return tuple(filter(None, read))

    def _limit(self, key: str, within: str, read: Callable[[Value, str], T | None]) -> T | None:
        """A limit of the service itself, or of `deploy.resources.limits`."""
        own = self._part(key, None, read, f"`{key}`")
        limits = self._findings.attempt({}, self._limits)
        if own is None and within in limits:
            return self._findings.attempt(None, read, limits[within], f"`{within}`")
        return own

    def _limits(self) -> dict[str, Value]:
        found = self._given["deploy"].mapping("`deploy`") if "deploy" in self._given else {}
        for key in ("resources", "limits"):
            found = found[key].mapping(f"`{key}`") if key in found else {}
        return found

    def _file_mounts(self, section: str) -> tuple[Mount, ...]:
        items = self._part(section, [], Value.items, f"`{section}`")
        read = (self._findings.attempt(None, self._file_mount, item, section) for item in items)
        return tuple(mount for mount in read if mount is not None)

    def _file_mount(self, item: Value, section: str) -> Mount:
        given = item.data if isinstance(item.data, dict) else {"source": item}
        name = given["source"].text("`source`") if "source" in given else ""
        if name not in self._project.files[section]:
            raise item.refuse(f"{name!r} isn't declared in `{section}` of the file.")
        path = given["target"].text("`target`") if "target" in given else name
        if not path.startswith("/"):
            path = f"/run/secrets/{path}" if section == "secrets" else f"/{path}"
        return Mount(target(item, path), content=self._project.files[section][name], is_read_only=True)


def _by_name(value: Value) -> dict[str, Value]:
    """The entries of a mapping; of a list, with null."""
    if isinstance(value.data, dict):
        return value.data
    return {item.text("A name"): item.with_data(None) for item in value.items("The list")}


def _links(value: Value) -> tuple[tuple[str, str], ...]:
    """The aliases of `NAME` and `NAME:ALIAS`, each with the name."""
    return tuple(_link(item) for item in value.items("`links`"))


def _link(item: Value) -> tuple[str, str]:
    name, _, alias = item.text("An entry of `links`").partition(":")
    if alias and not _ALIAS.fullmatch(alias):
        raise item.refuse(f"{alias[:80]!r} can't be the name of a service.")
    return alias or name, name


def _pairs(value: Value, what: str) -> list[tuple[str, Value]]:
    return list(value.pairs(what))


def _condition(entry: dict[str, Value]) -> Condition:
    if "condition" not in entry:
        return Condition.STARTED
    text = entry["condition"].text("`condition`")
    if text not in CONDITIONS:
        raise entry["condition"].refuse(
            f"{text[:40]!r} isn't a condition.", f"Use one of {', '.join(CONDITIONS)}."
        )
    return CONDITIONS[text]


def _network_aliases(value: Value) -> list[str]:
    given = value.mapping("A network")
    items = given["aliases"].items("`aliases`") if "aliases" in given else []
    return [_matching(item, _ALIAS, "An alias") for item in items]


def _tmpfs(item: Value) -> str:
    return target(item, item.text("`tmpfs`").partition(":")[0])


def _working_dir(value: Value) -> str:
    return target(value, value.text("`working_dir`")) if value.data not in (None, "", "/") else ""


def _matching(value: Value, pattern: re.Pattern[str], what: str) -> str:
    text = value.text(what)
    if text and not pattern.fullmatch(text):
        raise value.refuse(f"{what} {text[:80]!r} is invalid.".replace("\\x00", ""))
    return text
