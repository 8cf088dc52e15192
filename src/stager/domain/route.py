"""Where a host leads: the whole table is one value, and its difference to another is a value too.

The control plane makes tables, the front serves by them; both read and write them on the wire with
`to_wire` and `from_wire`, plain JSON types, so that a table can be kept in a file and sent over a socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stager.domain.identity.access_policy import AccessPolicy, terms_from_wire, terms_to_wire

PageState = Literal["starting", "failed", "stopped", "gone", "refused"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where something answers HTTP/1.1: `address` and `port` over TCP, or the `path` of a Unix socket."""

    address: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Page:
    """What the front itself answers for a host that has nothing running to show.

    Args:
        state: decides the status, whether the page refreshes itself, and its look.
        name: what people call the environment: the branch, or the name given by hand.
        app: the application it belongs to.
        message: one plain sentence on what is the matter.
        hint: what to do; may be empty.
        lines: the last lines of the log, for `failed`.
        url: where to read more, such as the pull request; may be empty.
    """

    state: PageState
    name: str = ""
    app: str = ""
    message: str = ""
    hint: str = ""
    lines: tuple[str, ...] = ()
    url: str = ""


Target = Endpoint | Page


@dataclass(frozen=True, slots=True)
class Changes:
    """What turns one table into another.

    Args:
        frame: whether `home` or `domain` changed; they are sent whole.
        ports: port to host, for the doors that changed; an empty host for one that is given up.
        terms: host to terms, where they changed; None for the usual ones.
    """

    upserts: Mapping[str, Target]
    deletes: frozenset[str]
    frame: bool
    ports: Mapping[int, str] = field(default_factory=dict)
    terms: Mapping[str, AccessPolicy | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.upserts or self.deletes or self.frame or self.ports or self.terms)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Every host that previews answer on, and what to do about all others.

    Hosts are lower case, without port and without a trailing dot. A host that isn't in `routes` but lies
    under `domain` was never heard of, and gets a page that says so; every other is Stager's own (`home`).

    Args:
        routes: host to target.
        domain: the domain under which previews live, without port; empty while none is known.
        home: Stager's own pages and API.
        ports: port to host, for hosts with a door of their own: a port of the loopback interface on which a
            request whose `Host` header is neither in `routes` nor under `domain` is for that host. For what
            stands before the front.
        terms: host to the terms on which it is served, for those of `routes` with others than the usual ones.
    """

    routes: Mapping[str, Target] = field(default_factory=dict)
    domain: str = ""
    home: Endpoint | None = None
    ports: Mapping[int, str] = field(default_factory=dict)
    terms: Mapping[str, AccessPolicy] = field(default_factory=dict)

    def upsert(self, host: str, target: Target, terms: AccessPolicy | None = None) -> RouteTable:
        """The table in which `host` leads to `target` on these terms; None for the usual ones."""
        return replace(self, routes={**self.routes, host: target}).under({host: terms})

    def under(self, terms: Mapping[str, AccessPolicy | None]) -> RouteTable:
        """The table in which these hosts are served on these terms, as far as they are in it."""
        known = {**self.terms, **{host: t for host, t in terms.items() if host in self.routes}}
        return replace(self, terms={host: t for host, t in known.items() if t is not None})

    def delete(self, host: str) -> RouteTable:
        """The table without `host`; the same table when it isn't there."""
        if host not in self.routes:
            return self
        return replace(
            self,
            routes={h: t for h, t in self.routes.items() if h != host},
            terms={h: t for h, t in self.terms.items() if h != host},
        )

    def doors(self) -> dict[str, int]:
        """Host to port, for the hosts to which what stands before the front is to lead now."""
        return {host: port for port, host in self.ports.items() if wants_door(self.routes.get(host))}

    def changes_to(self, other: RouteTable) -> Changes:
        """What turns this table into `other`."""
        return Changes(
            upserts={h: t for h, t in other.routes.items() if self.routes.get(h) != t},
            deletes=frozenset(self.routes.keys() - other.routes.keys()),
            frame=(self.domain, self.home) != (other.domain, other.home),
            ports={p: h for p, h in other.ports.items() if self.ports.get(p) != h}
            | dict.fromkeys(self.ports.keys() - other.ports.keys(), ""),
            terms={h: t for h, t in other.terms.items() if self.terms.get(h) != t}
            | dict.fromkeys(self.terms.keys() & other.routes.keys() - other.terms.keys()),
        )


@dataclass(frozen=True, slots=True)
class Health:
    """How the data plane is.

    Args:
        unresponsive: the hosts whose instance left the last requests without an answer.
        trouble: what keeps it from working as it should, a sentence; empty when nothing does.
    """

    unresponsive: frozenset[str] = frozenset()
    trouble: str = ""


def wants_door(target: Target | None) -> bool:
    """Whether something runs, or is about to: what was stopped or removed needs no door, only a page."""
    return isinstance(target, Endpoint) or (target is not None and target.state in {"starting", "failed"})


def normalise_host(host: str) -> str:
    """The host as tables know it: lower case, without port (which may be empty) and trailing dot. `[::1]:80`
    becomes `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, colon, port = host.rpartition(":")
    bare = name if colon and (port.isdigit() or not port) and ":" not in name else host
    return bare.rstrip(".").lower()


def target_to_wire(target: Target) -> dict[str, Any]:
    """A target as plain JSON types."""
    if isinstance(target, Page):
        return {
            "page": target.state,
            "name": target.name,
            "app": target.app,
            "message": target.message,
            "hint": target.hint,
            "lines": list(target.lines),
            "url": target.url,
        }
    return {"path": target.path} if target.path else {"address": target.address, "port": target.port}


def target_from_wire(data: Mapping[str, Any]) -> Target:
    """The target that `target_to_wire` wrote. Raises KeyError or ValueError on anything else."""
    if "page" not in data:
        if "path" in data:
            return Endpoint(path=str(data["path"]))
        return Endpoint(str(data["address"]), int(data["port"]))
    return Page(
        state=data["page"],
        name=data["name"],
        app=data["app"],
        message=data["message"],
        hint=data["hint"],
        lines=tuple(data["lines"]),
        url=data["url"],
    )


def table_to_wire(table: RouteTable) -> dict[str, Any]:
    """A table as plain JSON types."""
    return {
        "routes": {host: target_to_wire(target) for host, target in table.routes.items()},
        "domain": table.domain,
        "home": target_to_wire(table.home) if table.home else None,
        "ports": ports_to_wire(table.ports),
        "terms": {host: terms_to_wire(terms) for host, terms in table.terms.items()},
    }


def table_from_wire(data: Mapping[str, Any]) -> RouteTable:
    """The table that `table_to_wire` wrote. Raises KeyError or ValueError on anything else."""
    home = target_from_wire(data["home"]) if data["home"] else None
    if isinstance(home, Page):
        raise ValueError("home should be an endpoint, not a page")  # noqa: TRY004 (a bad value on the wire)
    routes = {host: target_from_wire(target) for host, target in data["routes"].items()}
    terms = {host: terms_from_wire(wire) for host, wire in data.get("terms", {}).items()}
    return RouteTable(routes, data["domain"], home, ports_from_wire(data.get("ports", {})), terms)


def ports_to_wire(ports: Mapping[int, str]) -> dict[str, str]:
    """Ports with their hosts as plain JSON types, whose keys are text."""
    return {str(port): host for port, host in ports.items()}


def ports_from_wire(data: Mapping[str, Any]) -> dict[int, str]:
    """What `ports_to_wire` wrote. Raises ValueError on anything else."""
    ports = {int(port): str(host) for port, host in data.items()}
    if any(not 0 < port < 1 << 16 for port in ports):
        raise ValueError("a port should be between 1 and 65535")
    return ports
