"""What Stager wants of the firewall: values, and the shape in which they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stager.helper.shapes import address, fields, integer, list_of, one_of, text

Egress = Literal["private", "internet", "none"]
"""Where a preview may connect to: private networks too, the internet only, or nowhere. Code from forks never
gets further than the internet."""

TRUSTED, UNTRUSTED = "pvt", "pvf"
"""Bridges of previews begin so, then the installation's tag. `engines.docker.network.pool` names them."""

TAG = 4
"""Characters of a tag."""

PORTS, GROUPS, BRIDGES, ALLOWED, POLICIES = 15, 256, 500, 64, 16
"""At most so many public ports (iptables' `multiport` takes no more), groups, bridges and exceptions of each,
installations."""

ALLOW = list_of(fields(address=address(), port=integer(1, 65535)), ALLOWED)
POLICY = fields(
    tag=text(r"[0-9a-f]{4}", "an installation's tag, four hex digits"),
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
    """Bridges that aren't treated as their prefix says, all of them alike."""

    egress: Egress
    allow: tuple[Allowed, ...]
    bridges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What one installation wants.

    Args:
        tag: four hex digits, which the names of its bridges hold.
        ports: of the machine, that previews may connect to: where visitors come in.
        groups: bridges that differ from the others of their trust.
        builder_allow: exceptions for the untrusted builder.
    """

    tag: str
    ports: tuple[int, ...] = ()
    groups: tuple[Group, ...] = ()
    builder_allow: tuple[Allowed, ...] = ()


def policy_of(given: Mapping[str, Any]) -> Policy:
    """From fields that `POLICY` read.

    Raises:
        HelperError: a bridge isn't the installation's.
    """
    tag = given["tag"]
    mine = list_of(text(rf"pv[tf]{tag}[0-9a-f]{{8}}", f"a bridge of the installation {tag}"), BRIDGES)
    for group in given["groups"]:
        mine(list(group["bridges"]), "bridges")
    return Policy(
        tag,
        tuple(sorted(set(given["ports"]))),
        tuple(Group(each["egress"], _allowed(each["allow"]), each["bridges"]) for each in given["groups"]),
        _allowed(given["builder_allow"]),
    )


def _allowed(given: tuple[Mapping[str, Any], ...]) -> tuple[Allowed, ...]:
    return tuple(Allowed(each["address"], each["port"]) for each in given)
