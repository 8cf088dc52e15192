"""The route table, which maps hosts to targets, and the diff of two tables. Both are immutable values.

The control plane computes tables and the front serves them. The `*_to_wire` and `*_from_wire` functions
convert them to and from plain JSON types, for files and sockets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stager.domain.identity.access_policy import AccessPolicy, policy_from_wire, policy_to_wire

PageState = Literal[
    "queued",
    "building",
    "starting",
    "asleep",
    "waking",
    "approval",
    "checks",
    "failed",
    "stopped",
    "expired",
    "gone",
    "refused",
]
ASLEEP = frozenset({"asleep", "waking"})
"""States of a host that a request wakes."""
SOON = ASLEEP | {"queued", "building", "starting", "failed"}
"""States of a host that will have a running instance soon, or as soon as a commit is fixed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of an HTTP/1.1 server: `address` and `port` for TCP, or the `path` of a Unix socket."""

    address: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Page:
    """The target of a host without a running instance: the front answers with a page.

    Args:
        state: determines the response's status, whether the page refreshes itself, and its style.
        name: the environment's display name: the branch, or a name that a user chose.
        app: the name of the environment's application.
        message: one sentence that says what is wrong.
        hint: what to do; may be empty.
        lines: the last lines of a log, or what else explains the state.
        url: the pull request; may be empty.
        log_url: Stager's own page about the environment, with its logs; may be empty.
        reason: the reason slug; may be empty.
        lines_title: what `lines` are.
        findings: what Stager found in the Compose file, as an explanation of a failure.
        stage: the stage that a deployment is at, or at which it failed: one of `stages`, `running`, or empty
            for none.
        stages: the stages that the deployment goes through before it is live.
        place: the place in the queue, from 1; 0 for none.
        author: who opened the pull request; may be empty.
        number: the pull request's; 0 for none.
        since: when the deployment was requested, in seconds since 1970; 0 if that doesn't matter.
    """

    state: PageState
    name: str = ""
    app: str = ""
    message: str = ""
    hint: str = ""
    lines: tuple[str, ...] = ()
    url: str = ""
    log_url: str = ""
    reason: str = ""
    lines_title: str = ""
    findings: tuple[str, ...] = ()
    stage: str = ""
    stages: tuple[str, ...] = ()
    place: int = 0
    author: str = ""
    number: int = 0
    since: int = 0


Target = Endpoint | Page

_REACHED_AT = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (only compared)


def reached_at(host: str) -> str:
    """Return the host at which this machine reaches a listener: the loopback address if it listens on all.

    Args:
        host: an address without brackets, or a name.
    """
    return _REACHED_AT.get(host, host)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The hosts of all previews, and how requests for other hosts are answered.

    Hosts are lower case, without port and without a trailing dot. A host under `domain` that isn't in
    `routes` is unknown and gets an error page. Every other host is Stager's own (`home`).

    Args:
        routes: host to target.
        domain: the domain of the previews, without port; empty while there is none.
        home: the server of Stager's own pages and API.
        ports: port to host, for hosts with an ingress port: a port of the loopback interface. A request that
            arrives there is for this host if its `Host` header is neither in `routes` nor under `domain`.
            Edge proxies use these ports.
        policies: host to access policy, for those of `routes` that don't have the default policy.
    """

    routes: Mapping[str, Target] = field(default_factory=dict)
    domain: str = ""
    home: Endpoint | None = None
    ports: Mapping[int, str] = field(default_factory=dict)
    policies: Mapping[str, AccessPolicy] = field(default_factory=dict)

    def upsert(self, host: str, target: Target, policy: AccessPolicy | None = None) -> RouteTable:
        """Return the table with this target and access policy for `host`; None is the default policy."""
        return replace(self, routes={**self.routes, host: target}).with_policies({host: policy})

    def with_policies(self, policies: Mapping[str, AccessPolicy | None]) -> RouteTable:
        """Return the table with these access policies; hosts that aren't in the table are ignored."""
        known = {**self.policies, **{host: p for host, p in policies.items() if host in self.routes}}
        return replace(self, policies={host: p for host, p in known.items() if p is not None})

    def delete(self, host: str) -> RouteTable:
        """Return the table without `host`; the same table if it has no such host."""
        if host not in self.routes:
            return self
        return replace(
            self,
            routes={h: t for h, t in self.routes.items() if h != host},
            policies={h: p for h, p in self.policies.items() if h != host},
        )

    def ingress_ports(self) -> dict[str, int]:
        """Host to port, for the hosts that an edge proxy must route now."""
        return {host: port for port, host in self.ports.items() if needs_ingress_port(self.routes.get(host))}


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the data plane.

    Args:
        unresponsive: the hosts whose instance didn't answer the last requests.
        problem: a sentence on what is wrong with the data plane itself; empty if nothing is.
    """

    unresponsive: frozenset[str] = frozenset()
    problem: str = ""


def needs_ingress_port(target: Target | None) -> bool:
    """Whether the target has a running instance, or will have one soon. A host whose environment was stopped
    or removed needs no ingress port."""
    return isinstance(target, Endpoint) or (target is not None and target.state in SOON)


def is_asleep(target: Target | None) -> bool:
    """Whether a request to the target wakes its environment and is held until that is awake."""
    return isinstance(target, Page) and target.state in ASLEEP


def normalise_host(host: str) -> str:
    """Return the host in the form of route tables: lower case, without port (which may be empty) and trailing
    dot. `[::1]:80` becomes `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, colon, port = host.rpartition(":")
    bare = name if colon and (port.isdigit() or not port) and ":" not in name else host
    return bare.rstrip(".").lower()


def target_to_wire(target: Target) -> dict[str, Any]:
    """Convert a target to plain JSON types."""
    if isinstance(target, Page):
        return _page_to_wire(target)
    return {"path": target.path} if target.path else {"address": target.address, "port": target.port}


def target_from_wire(data: Mapping[str, Any]) -> Target:
    """Read the output of `target_to_wire`. Raises KeyError or ValueError on anything else."""
    if "page" not in data:
        if "path" in data:
            return Endpoint(path=str(data["path"]))
        return Endpoint(str(data["address"]), int(data["port"]))
    page: dict[str, Any] = {"state": data["page"]}
    page |= {name: str(data[name]) for name in _TEXTS if _is_given(name, data)}
    page |= {name: tuple(map(str, data[name])) for name in _LISTS if _is_given(name, data)}
    page |= {name: int(data[name]) for name in _NUMBERS if _is_given(name, data)}
    return Page(**page)


_TEXTS = ("name", "app", "message", "hint", "url", "log_url", "reason", "lines_title", "stage", "author")
_LISTS = ("lines", "findings", "stages")
_NUMBERS = ("place", "number", "since")
_REQUIRED = frozenset({"name", "app", "message", "hint", "lines", "url"})


def _is_given(name: str, data: Mapping[str, Any]) -> bool:
    """Whether a field of a page is to be read. An older version, whose file a front takes over, wrote only
    those that are required."""
    return name in _REQUIRED or name in data


def _page_to_wire(page: Page) -> dict[str, Any]:
    values = {name: getattr(page, name) for name in (*_TEXTS, *_NUMBERS)}
    return {"page": page.state, **values, **{name: list(getattr(page, name)) for name in _LISTS}}


def table_to_wire(table: RouteTable) -> dict[str, Any]:
    """Convert a table to plain JSON types."""
    return {
        "routes": {host: target_to_wire(target) for host, target in table.routes.items()},
        "domain": table.domain,
        "home": target_to_wire(table.home) if table.home else None,
        "ports": ports_to_wire(table.ports),
        "policies": {host: policy_to_wire(policy) for host, policy in table.policies.items()},
    }


def table_from_wire(data: Mapping[str, Any]) -> RouteTable:
    """Read the output of `table_to_wire`. Raises KeyError or ValueError on anything else: a file of a version
    that wrote access policies in another form must not be served without them."""
    home = target_from_wire(data["home"]) if data["home"] else None
    if isinstance(home, Page):
        raise ValueError("home should be an endpoint, not a page")  # noqa: TRY004 (a bad value on the wire)
    routes = {host: target_from_wire(target) for host, target in data["routes"].items()}
    policies = {host: policy_from_wire(wire) for host, wire in data["policies"].items()}
    return RouteTable(routes, data["domain"], home, ports_from_wire(data["ports"]), policies)


def ports_to_wire(ports: Mapping[int, str]) -> dict[str, str]:
    """Convert ports with their hosts to plain JSON types, whose keys are strings."""
    return {str(port): host for port, host in ports.items()}


def ports_from_wire(data: Mapping[str, Any]) -> dict[int, str]:
    """Read the output of `ports_to_wire`. Raises ValueError on anything else."""
    ports = {int(port): str(host) for port, host in data.items()}
    if any(not 0 < port < 1 << 16 for port in ports):
        raise ValueError("a port should be between 1 and 65535")
    return ports
