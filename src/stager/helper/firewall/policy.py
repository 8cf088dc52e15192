"""Firewall policies: their types, and their shape in requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stager.helper.shapes import address, fields, integer, list_of, one_of, text

Egress = Literal["private", "internet", "none"]
"""Where a preview may connect to: private networks and the internet, the internet only, or nowhere. Code from
forks never reaches private networks."""

TRUSTED, UNTRUSTED = "pvt", "pvf"
"""Prefixes of the bridges of previews, followed by the installation's tag; see
`engines.docker.network.pool`."""

TAG = 4
"""Length of a tag."""

PORTS = 15
"""Maximum number of public ports: the limit of iptables' `multiport`."""
GROUPS = 256
"""Maximum number of groups of a policy."""
BRIDGES = 500
"""Maximum number of bridges of a group."""
ALLOWED = 64
"""Maximum number of exceptions of a group, and of the builder."""
POLICIES = 16
"""Maximum number of policies, one for each installation."""

ALLOW = list_of(fields(address=address(), port=integer(1, 65535)), ALLOWED)
POLICY = fields(
    tag=text(r"[0-9a-f]{4}", "an installation's tag of four hex digits"),
    ports=list_of(integer(1, 65535), PORTS),
    groups=list_of(
        fields(
            egress=one_of("private", "internet", "none"),
            allow=ALLOW,
            bridges=list_of(text(r"pv[tf][0-9a-f]{12}", "a bridge's name"), BRIDGES),
        ),
        GROUPS,
    ),
    builder_allow=ALLOW,
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """An exception: TCP and UDP to one port of one address."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Group:
    """Bridges that have the same rules, which differ from the default of their prefix."""

    egress: Egress
    allow: tuple[Allowed, ...]
    bridges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of one installation.

    Args:
        tag: four hex digits, a part of the names of its bridges.
        ports: the machine's public ports, to which previews may connect.
        groups: bridges whose rules differ from the default of their trust profile.
        builder_allow: exceptions for the untrusted builder.
    """

    tag: str
    ports: tuple[int, ...] = ()
    groups: tuple[Group, ...] = ()
    builder_allow: tuple[Allowed, ...] = ()


def policy_of(values: Mapping[str, Any]) -> Policy:
    """Make a policy from fields that `POLICY` has validated.

    Raises:
        HelperError: a bridge belongs to another installation.
    """
    tag = values["tag"]
    own_bridges = list_of(text(rf"pv[tf]{tag}[0-9a-f]{{8}}", f"a bridge of the installation {tag}"), BRIDGES)
    for group in values["groups"]:
        own_bridges(list(group["bridges"]), "bridges")
    return Policy(
        tag,
        tuple(sorted(set(values["ports"]))),
        tuple(Group(each["egress"], _allowed(each["allow"]), each["bridges"]) for each in values["groups"]),
        _allowed(values["builder_allow"]),
    )


def _allowed(values: tuple[Mapping[str, Any], ...]) -> tuple[Allowed, ...]:
    return tuple(Allowed(each["address"], each["port"]) for each in values)
