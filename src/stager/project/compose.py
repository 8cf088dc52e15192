"""Reads a Compose file: which services it has, and how those with `build` are built.

Only these keys are read (https://docs.docker.com/reference/compose-file/services/). Nothing is interpolated
from the environment, and no other file is read.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from stager.project.tree import Tree

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""The names that Docker Compose looks for, in its order."""

MAX_SERVICES = 100
MAX_SIZE = 64 * 1024
"""Characters of a file that is read."""

_VARIABLE = re.compile(r"\$\{\w+:?-([^${}]*)\}")
_PORT = re.compile(r"(?:.*:)?(\d{1,5})(?:/tcp)?")


@dataclass(frozen=True, slots=True)
class ComposeBuild:
    """How a service is built; paths are within the repository.

    Args:
        context: relative to the repository's root.
        dockerfile: relative to the context.
        target: the stage; empty for the last one.
    """

    context: str
    dockerfile: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a Compose file.

    Args:
        image: empty if it is only built.
        build: None if it isn't built, or from outside of the repository.
        ports: the container's ports, in the file's order.
    """

    name: str
    image: str = ""
    build: ComposeBuild | None = None
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Compose:
    """A Compose file.

    Args:
        path: its name.
    """

    path: str
    services: tuple[Service, ...]

    @property
    def built(self) -> tuple[Service, ...]:
        """The services with `build`: those with ports first."""
        return tuple(sorted((each for each in self.services if each.build), key=lambda each: not each.ports))

    @property
    def others(self) -> tuple[Service, ...]:
        """The services without `build`, such as databases."""
        return tuple(each for each in self.services if not each.build)


class _Loader(yaml.SafeLoader):
    """Reads Compose's own tags, such as `!reset`, as their plain value, and limits aliases, whose expansion
    is exponential."""

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node. Raises `yaml.YAMLError` after too many aliases."""
        self.aliases += self.check_event(yaml.AliasEvent)
        if self.aliases > MAX_SERVICES:
            raise yaml.YAMLError("too many aliases")
        return super().compose_node(parent, index)


_Loader.add_multi_constructor("!", lambda loader, _suffix, node: _plain(loader, node))


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


def read_compose(tree: Tree) -> Compose | None:
    """Return the Compose file at the root; None if there is none with services that can be read."""
    path = tree.first(*NAMES)
    try:
        text = tree.text(path) if path else ""
        data = yaml.load(text, Loader=_Loader) if len(text) <= MAX_SIZE else None  # noqa: S506 (it is safe)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None
    services = data.get("services") if isinstance(data, dict) else None
    if not isinstance(services, dict):
        return None
    return Compose(path, tuple(_services(services))[:MAX_SERVICES])


def _services(services: dict[Any, Any]) -> Iterator[Service]:
    for name, entry in services.items():
        if isinstance(name, str) and name.isprintable() and isinstance(entry, dict):
            yield Service(name, _text(entry.get("image")), _build(entry.get("build")), _ports(entry))


def _build(entry: Any) -> ComposeBuild | None:
    given = {"context": entry} if isinstance(entry, str) else entry
    if not isinstance(given, dict):
        return None
    context = posixpath.normpath(_text(given.get("context")) or ".")
    dockerfile = posixpath.normpath(_text(given.get("dockerfile")) or "Dockerfile")
    if "$" in context + dockerfile or ":" in context or given.get("dockerfile_inline"):
        return None
    if _leads_out(context) or _leads_out(posixpath.normpath(posixpath.join(context, dockerfile))):
        return None
    return ComposeBuild(context, dockerfile, _text(given.get("target")))


def _leads_out(path: str) -> bool:
    return path.startswith(("/", "..")) or not path.isprintable()


def _ports(entry: dict[Any, Any]) -> tuple[int, ...]:
    listed = [entry.get("ports"), entry.get("expose")]
    words = [word for each in listed if isinstance(each, list) for word in each]
    found = (_port(word) for word in words)
    return tuple(dict.fromkeys(port for port in found if port is not None))


def _port(entry: Any) -> int | None:
    target = entry.get("target") if isinstance(entry, dict) else entry
    found = _PORT.fullmatch(_text(target))
    return int(found[1]) if found and 0 < int(found[1]) < 1 << 16 else None


def _text(value: Any) -> str:
    """The text of a scalar, with the defaults of variables (`${PORT:-80}`)."""
    return _VARIABLE.sub(r"\1", str(value)) if isinstance(value, str | int) else ""
