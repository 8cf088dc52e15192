"""Explains what would run from a checkout: as text, and as data for JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stager.domain.names import slugify
from stager.domain.recipe import DOCKERFILE
from stager.domain.service import (
    SETTLED_SECONDS,
    UNBOUNDED_VOLUMES,
    Mount,
    ServiceSpec,
    Stack,
    VolumePolicy,
    has_volumes,
    with_generated,
)
from stager.project.compose import Note, Place, Proposal, Reading, Refusal

HOST = "PREVIEW"
"""Placeholder for the preview's host, which the server chooses."""
MIB = 1 << 20
LONGEST_COMMAND = 100
MAX_FINDINGS = 30
"""Lines of the findings that are shown with a preview. Pages show as many lines of a log."""

_POLICIES = {
    VolumePolicy.KEEP: "kept for the preview's life",
    VolumePolicy.FRESH: "empty at each push",
    VolumePolicy.CLONE: "a copy of the current snapshot at each push",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would run.

    Args:
        source: the files that it was read from, or what else it comes from, in a few words.
        main: the name of the main service.
        services: those that run.
        volumes: the policies that differ from `keep`, by the name of the volume.
        framework: what the main service's Dockerfile is generated for; empty if it has one.
        refusals: why it wouldn't run.
    """

    source: str
    main: str = ""
    services: tuple[ServiceSpec, ...] = ()
    volumes: Mapping[str, VolumePolicy] = field(default_factory=dict)
    framework: str = ""
    guesses: tuple[Note, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    ignored: tuple[Note, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @classmethod
    def of_compose(cls, reading: Reading) -> Explanation:
        """Explain a Compose file."""
        return cls(
            " and ".join(reading.files) or reading.path,
            reading.stack.main if reading.stack else "",
            reading.services,
            guesses=reading.guesses,
            proposals=reading.proposals,
            ignored=reading.ignored,
            refusals=reading.refusals,
        )

    @classmethod
    def of_stack(cls, source: str, stack: Stack) -> Explanation:
        """Explain services of another file."""
        return cls(source, stack.main, stack.services, stack.volumes)

    def with_changed(self, name: str, change: Callable[[ServiceSpec], ServiceSpec]) -> Explanation:
        """Return this explanation with one service changed."""
        services = tuple(change(each) if each.name == name else each for each in self.services)
        return replace(self, services=services)

    @property
    def runs(self) -> bool:
        """Whether it would run."""
        return not self.refusals

    def lines(self) -> Iterator[str]:
        """The explanation as text."""
        count = f"{len(self.services)} service{'s' if len(self.services) != 1 else ''}"
        yield f"{self.source}: {count if self.runs else 'this would not run'}"
        for service in self.services if self.runs else ():
            yield ""
            yield from self._of_service(service)
        for section in self._findings():
            yield ""
            yield from section
        if self.runs and self.warnings:
            yield from ("", "Not limited:", *(f"  {each}" for each in self.warnings))

    def findings(self) -> tuple[str, ...]:
        """What was refused, guessed, proposed and ignored, with file and line, as in `lines`."""
        found = tuple(line for section in self._findings() for line in section)
        if len(found) <= MAX_FINDINGS:
            return found
        rest = len(found) - MAX_FINDINGS + 1
        return (*found[: MAX_FINDINGS - 1], f"and {rest} more lines; `stager explain` prints all")

    def _findings(self) -> Iterator[list[str]]:
        sections = {
            "Refused": self.refusals,
            "Guessed": self.guesses,
            "Proposed": self.proposals,
            "Without effect": self.ignored,
        }
        for title, found in sections.items():
            if found:
                yield [f"{title}:", *(f"  {each}" for each in found)]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Limits that don't hold for it, a sentence each."""
        return (UNBOUNDED_VOLUMES,) if has_volumes(self.services) else ()

    def data(self) -> dict[str, Any]:
        """The explanation as data for JSON. Variables have names only."""
        return {
            "runs": self.runs,
            "source": self.source,
            "main": self.main,
            "services": [self._data(service) for service in self.services],
            "guesses": [_note(each) for each in self.guesses],
            "proposals": [
                {
                    "file": each.file,
                    "sample": each.sample,
                    "variables": list(each.variables),
                    "generated": list(each.generated),
                }
                for each in self.proposals
            ],
            "ignored": [_note(each) for each in self.ignored],
            "refusals": [{**_note(each), "hint": each.hint} for each in self.refusals],
            "warnings": list(self.warnings),
        }

    def host(self, service: ServiceSpec) -> str:
        """The host of a service; empty if it isn't routed."""
        if service.name == self.main:
            return HOST
        return f"{slugify(service.name)}--{HOST}" if service.port is not None else ""

    def _of_service(self, service: ServiceSpec) -> Iterator[str]:
        kinds = [*(["main"] if service.name == self.main else []), *(["job"] if service.is_job else [])]
        yield f"{service.name} ({', '.join(kinds)})" if kinds else service.name
        facts = {
            "build" if service.is_built else "image": service.image or self._build(service),
            "entrypoint": _words(service.entrypoint),
            "command": _words(service.command),
            "variables": ", ".join(_variables(service)),
            "host": self._host(service),
            "health": "" if service.is_job else _health(service),
            "waits for": ", ".join(f"{name} ({each})" for name, each in service.depends_on.items()),
            "volumes": "; ".join(self._volume(mount) for mount in service.mounts if not mount.content),
            "files": "; ".join(f"{each.content} at {each.target}" for each in service.mounts if each.content),
            "limits": _limits(service),
            "also known as": ", ".join(service.aliases),
        }
        width = max(map(len, facts)) + 1
        yield from (f"  {f'{name}:'.ljust(width)} {fact}" for name, fact in facts.items() if fact)

    def _build(self, service: ServiceSpec) -> str:
        recipe = service.build
        if recipe is None:
            return (
                "the image of the main service" if service.name != self.main else "the repository's own image"
            )
        if self.framework and service.name == self.main:
            return f"{recipe.context}, with a generated Dockerfile ({self.framework})"
        parts = [recipe.context]
        parts += [recipe.dockerfile] if recipe.dockerfile != DOCKERFILE else []
        parts += [f"target {recipe.target}"] if recipe.target else []
        parts += [f"arguments {' '.join(recipe.arguments)}"] if recipe.arguments else []
        return ", ".join(parts)

    def _host(self, service: ServiceSpec) -> str:
        host = self.host(service)
        port = f"port {service.port}" if service.port else "the port that the image exposes"
        return f"{host}, to {port}" if host else ""

    def _volume(self, mount: Mount) -> str:
        mode = ", read-only" if mount.is_read_only else ""
        if not mount.volume:
            return f"{mount.target} (the instance's own{mode})"
        return f"{mount.volume} at {mount.target} ({_POLICIES[self._policy(mount)]}{mode})"

    def _policy(self, mount: Mount) -> VolumePolicy:
        return self.volumes.get(mount.volume, VolumePolicy.KEEP)

    def _data(self, service: ServiceSpec) -> dict[str, Any]:
        build = service.build
        return {
            "name": service.name,
            "is_main": service.name == self.main,
            "is_job": service.is_job,
            "image": service.image or None,
            "build": build
            and {
                "context": build.context,
                "dockerfile": build.dockerfile,
                "target": build.target,
                "arguments": list(build.arguments),
                "generated_for": self.framework if service.name == self.main else "",
            },
            "entrypoint": _listed(service.entrypoint),
            "command": _listed(service.command),
            "variables": list(service.variables),
            "port": service.port,
            "host": self.host(service) or None,
            "health": _health(service),
            "depends_on": {name: str(each) for name, each in service.depends_on.items()},
            "mounts": [
                {
                    "target": each.target,
                    "volume": each.volume or None,
                    "policy": str(self._policy(each)) if each.volume else None,
                    "files": each.content or None,
                    "read_only": each.is_read_only,
                }
                for each in service.mounts
            ],
            "memory": service.memory,
            "cpus": service.cpus,
            "aliases": list(service.aliases),
        }


def _note(found: Note | Refusal) -> dict[str, Any]:
    return {**_place(found.place), "text": found.text}


def _place(place: Place) -> dict[str, Any]:
    return {"file": place.file, "line": place.line or None}


def _listed(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else [_without_secrets(word) for word in words]


def _words(words: tuple[str, ...] | None) -> str:
    if words is None:
        return ""
    shown = " ".join(_without_secrets(word) for word in words) or "none"
    return shown if len(shown) <= LONGEST_COMMAND else f"{shown[:LONGEST_COMMAND]}…"


def _without_secrets(text: str) -> str:
    return with_generated(text, "<{}>".format)


def _variables(service: ServiceSpec) -> Iterator[str]:
    for name, value in service.variables.items():
        yield f"{name} (generated)" if value.startswith("\0") else name


def _health(service: ServiceSpec) -> str:
    check = service.check
    settled = f"the image's own check; without one, {SETTLED_SECONDS:g} seconds without an exit"
    if check is None:
        return settled
    if check.is_disabled:
        return f"{SETTLED_SECONDS:g} seconds without an exit"
    if check.path:
        return f"GET {check.path} answers 2xx or 3xx"
    if check.port:
        return f"port {check.port} accepts connections"
    return f"`{_words(check.command)}` exits with 0"


def _limits(service: ServiceSpec) -> str:
    found = [f"{service.memory // MIB} MiB"] if service.memory else []
    return ", ".join([*found, *([f"{service.cpus:g} cores"] if service.cpus else [])])
