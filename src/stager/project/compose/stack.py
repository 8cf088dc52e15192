"""Fits the services of a Compose file to one another, and to the model of services."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from stager.domain import catalogue
from stager.domain.recipe import Recipe
from stager.domain.service import MAX_NAME, Condition, Mount, ServiceCheck, ServiceSpec, is_service_name
from stager.project.compose.code_mounts import BuiltImage
from stager.project.compose.findings import Findings
from stager.project.compose.main_service import main_service, routed_port
from stager.project.compose.result import Options
from stager.project.compose.service import Declared
from stager.project.compose.value import Refused
from stager.project.tree import Tree

_SEPARATORS = re.compile(r"[^a-z0-9]+")


class Fitted(NamedTuple):
    """The services that run, and the main one's name; empty if it can't be chosen."""

    services: tuple[ServiceSpec, ...]
    main: str


class Fitter:
    """Fits services to one another; problems are recorded.

    Args:
        path: the Compose file.
        services: those that run.
        others: the names of those that don't.
    """

    def __init__(
        self,
        tree: Tree,
        options: Options,
        path: str,
        services: Sequence[Declared],
        others: Collection[str],
        findings: Findings,
    ) -> None:
        self._tree = tree
        self._options = options
        self._path = path
        self._services = services
        self._others = others
        self._findings = findings
        self._names = self._own_names()
        self._jobs = {name for each in services for name in _completed(each)}
        self._jobs |= {each.name for each in services if each.is_job}
        self._tags = {each.tag: each.spec.build for each in services if each.tag}

    def fit(self) -> Fitted:
        """Return the services."""
        self._check_dependencies()
        main = self._main()
        specs: list[ServiceSpec] = []
        for each in self._services:
            with self._findings.about(each.name):
                specs.append(self._spec(each, is_main=each.name == main))
        return Fitted(tuple(specs), self._names.get(main, ""))

    def _spec(self, service: Declared, *, is_main: bool) -> ServiceSpec:
        image, build = self._image(service, is_main=is_main)
        spec = replace(service.spec, image=image, build=build)
        own = self._names[service.name]
        linked = [alias for each in self._services for alias, name in each.links if name == service.name]
        aliases = dict.fromkeys((*([service.name] if service.name != own else []), *spec.aliases, *linked))
        return replace(
            spec,
            name=own,
            port=routed_port(service, self._findings, is_main=is_main),
            depends_on={
                self._names[name]: condition
                for name, condition in spec.depends_on.items()
                if name in self._names
            },
            check=spec.check or _catalogue_check(spec),
            is_job=service.name in self._jobs,
            mounts=(*self._mounts(service, spec), *spec.mounts),
            aliases=tuple(each for each in aliases if each not in self._names.values()),
        )

    def _image(self, service: Declared, *, is_main: bool) -> tuple[str, Recipe | None]:
        """The image and the build: that of another service if this one names its image, and the repository's
        own for the configured main service if none is built."""
        spec = service.spec
        if spec.build is not None or not spec.image:
            return "", spec.build
        if spec.image in self._tags:
            return "", self._tags[spec.image]
        if not is_main or any(each.spec.build for each in self._services):
            return spec.image, None
        place = service.place_of("image")
        if self._options.web:
            text = f"{service.name} runs the repository's own image, not {spec.image}: no service is built."
            self._findings.guess(place, text)
            return "", None
        if any(entry.mount.content for entry in service.mounts):
            return spec.image, None
        text = f"No service is built, so the preview runs {spec.image} and not this commit."
        self._findings.guess(place, f"{text} `web: {service.name}` in .stager.yml replaces it.")
        return spec.image, None

    def _mounts(self, service: Declared, spec: ServiceSpec) -> Iterator[Mount]:
        """The mounts without those of code that the image holds, and the anonymous volumes within those."""
        dropped: list[str] = []
        if not spec.image:
            image = BuiltImage(self._tree, spec.build or Recipe())
            for mount, value, _ in service.mounts:
                if (
                    mount.content
                    and self._tree.has_folder(mount.content)
                    and image.holds(mount.content, mount.target)
                ):
                    dropped.append(mount.target)
                    what = f"The mount of `{mount.content}` at {mount.target} of {service.name}"
                    self._findings.ignore(value.place, what, "the image holds these files")
        for mount, *_ in service.mounts:
            is_kept = mount.volume or mount.content
            if mount.target not in dropped and (is_kept or not _is_in(mount.target, dropped)):
                yield mount

    def _main(self) -> str:
        try:
            service, why = main_service(self._services, self._names, self._options, self._path)
        except Refused as error:
            self._findings.refuse(error)
            return ""
        if why and len(self._services) > 1:
            self._findings.guess(service.value.place, f"{service.name} is the main service: {why}.")
        if service.name in self._jobs:
            text = f"The main service {service.name!r} is one that runs to its end."
            self._findings.refuse(
                service.value.refuse(text, "Choose another one with `web: NAME` in .stager.yml.")
            )
        return service.name

    def _own_names(self) -> dict[str, str]:
        """The names of the model by the file's own."""
        found: dict[str, str] = {}
        for service in self._services:
            name = service.name
            own = name if is_service_name(name) else _slug(name)
            if not own or own in found.values():
                self._findings.refuse(
                    service.value.refuse(f"{name!r} can't be the name of a service.", "Rename it.")
                )
            found[name] = own
        return found

    def _check_dependencies(self) -> None:
        for service in self._services:
            for name in service.spec.depends_on:
                if name not in self._names and name not in service.optional:
                    self._findings.refuse(self._missing(service, name))
        if circle := _circle({each.name: each.spec.depends_on for each in self._services}):
            place = next(each for each in self._services if each.name == circle[0]).place_of("depends_on")
            text = f"Services depend on one another in a circle: {' -> '.join(circle)}."
            self._findings.refuse(Refused(place, text, "Remove one of the dependencies."))

    def _missing(self, service: Declared, name: str) -> Refused:
        place = service.place_of("depends_on")
        if name in self._others:
            text = f"{service.name} depends on {name!r}, which doesn't run with these profiles."
            return Refused(place, text, "Choose its profile with `profiles` in .stager.yml.")
        return Refused(place, f"{service.name} depends on {name!r}, which isn't a service.")


def _catalogue_check(spec: ServiceSpec) -> ServiceCheck | None:
    """The check of a known database or broker: that its usual port accepts connections."""
    entry = catalogue.find(spec.image) if spec.image else None
    has_usual_port = not any("port" in word for word in spec.command or ())
    return ServiceCheck(port=entry.port) if entry is not None and has_usual_port else None


def _completed(service: Declared) -> Iterator[str]:
    return (name for name, condition in service.spec.depends_on.items() if condition is Condition.COMPLETED)


def _is_in(path: str, folders: Collection[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def _slug(name: str) -> str:
    return _SEPARATORS.sub("-", name.lower()).strip("-")[:MAX_NAME].strip("-")


def _circle(dependencies: Mapping[str, Collection[str]]) -> list[str]:
    """Names that depend on one another in a circle, the first one again at the end; empty for none."""
    left = {name: set(others) & dependencies.keys() for name, others in dependencies.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    if not left:
        return []
    trail = [min(left)]
    while (following := min(left[trail[-1]] & left.keys())) not in trail:
        trail.append(following)
    return [*trail[trail.index(following) :], following]
