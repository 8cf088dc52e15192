"""The ports of previews on a node of a swarm: only the front's machine reaches them.

Swarm opens a published port on all addresses of its node. A chain in the table `raw`, which comes before
Docker's translation of addresses, drops new connections to these ports unless they are the front's.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from stager.helper.firewall import iptables, tables
from stager.helper.firewall.rules import FAMILIES
from stager.helper.protocol import HelperError, refused
from stager.helper.shapes import address, fields, installation, list_of
from stager.helper.verbs import Feature, Result, Verb, failed

log = logging.getLogger("stager-helper")

PORTS = (20000, 29999)
"""The ports that Stager publishes on nodes."""
FRONTS, NODES, INSTALLATIONS = 16, 512, 16
"""Maximum numbers."""
TABLE, HOOK = "raw", "PREROUTING"
ROUTE_TIMEOUT = 5.0
"""Seconds for a look at the routes."""

NODE_PORTS = fields(
    installation=installation, fronts=list_of(address(), FRONTS), nodes=list_of(address(), NODES)
)


@dataclass(frozen=True, slots=True)
class Guard:
    """What an installation wants.

    Args:
        fronts: where its front's connections come from. Without any, only this machine itself gets in.
        nodes: the addresses of all nodes. Previews on this node don't reach the ports there either: behind
            the address of this node, they may look like the front.
    """

    fronts: tuple[str, ...]
    nodes: tuple[str, ...]


class NodePorts(Feature):
    """See `docs/how-to/root-helper.md`.

    Args:
        chain: the name of its chain.
    """

    name = "node-ports"

    def __init__(self, chain: str) -> None:
        self._chain = chain
        self._guards: dict[str, Guard] = {}
        self._shown: dict[int, tuple[list[str], list[str]]] = {}
        """The rules that were last set, by family, and the kernel's rendering of them."""
        self._lock = threading.Lock()

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> NodePorts:
        """See `Feature.of`."""
        return cls(f"{arguments.chains}-NODE")

    def verbs(self) -> Iterable[Verb]:
        """See `Feature.verbs`."""
        yield Verb("node-ports-apply", NODE_PORTS, self._apply, queue=self.name, timeout=30.0)

    def tick(self) -> None:
        """See `Feature.tick`. The rules stay when the helper ends; a restarted one sets none before it is
        asked."""
        if self._guards and self._ensure_all():
            log.info("rules of the node's ports were missing and have been restored")

    def _apply(self, values: Mapping[str, Any]) -> Result:
        name = values["installation"]
        if name not in self._guards and len(self._guards) >= INSTALLATIONS:
            raise refused(f"There are already {INSTALLATIONS} installations on this node.", "too-many")
        self._guards[name] = Guard(tuple(values["fronts"]), tuple(values["nodes"]))
        return {"changed": self._ensure_all(), "ports": list(PORTS)}

    def _ensure_all(self) -> bool:
        """Set the rules unless they are in place, and read them back. Raises `HelperError`."""
        with self._lock:
            families = [family for family in FAMILIES if iptables.has_family(family)]
            changed = [self._ensure(family) for family in families]
            return any(changed)

    def _ensure(self, family: int) -> bool:
        fronts = sorted({front for guard in self._guards.values() for front in guard.fronts})
        nodes = sorted({node for guard in self._guards.values() for node in guard.nodes})
        links = {front: link_to(front) for front in fronts if ip_address(front).version == family == 4}
        desired = rules_of(links, [node for node in nodes if ip_address(node).version == family])
        table = tables.read(iptables.save(family, TABLE))
        if (desired, table.get(self._chain, [])) == self._shown.get(family) and self._is_first(table):
            return False
        iptables.restore(family, self._script(table, desired))
        table = tables.read(iptables.save(family, TABLE))
        found = table.get(self._chain, [])
        if len(found) != len(desired) or not self._is_first(table):
            raise failed(
                "The rules of the node's ports were set, but are missing again.",
                "firewall-lost",
                "Another program may have removed them.",
            )
        self._shown[family] = (desired, found)
        return True

    def _is_first(self, table: Mapping[str, Sequence[str]]) -> bool:
        return table.get(HOOK, [])[:1] == [f"-j {self._chain}"]

    def _script(self, table: Mapping[str, Sequence[str]], desired: Sequence[str]) -> str:
        jump = f"{HOOK} -j {self._chain}"
        stale = [f"-D {jump}" for rule in table.get(HOOK, ()) if f"{HOOK} {rule}" == jump]
        rules = [f"-A {self._chain} {rule}" for rule in desired]
        first = f"-I {HOOK} 1 -j {self._chain}"
        return "\n".join([f"*{TABLE}", f":{self._chain} - [0:0]", *rules, *stale, first, "COMMIT", ""])


def rules_of(links: Mapping[str, str], nodes: Sequence[str]) -> list[str]:
    """The rules of one address family.

    Only packets that open a connection (SYN) are matched: answers to connections of this machine may come to
    any port.

    Args:
        links: the interface by which each front is reached. A packet that comes in by another, such as the
            bridge of a preview, has a forged source.
        nodes: the addresses of all nodes.
    """
    opens = f"-p tcp -m tcp --dport {PORTS[0]}:{PORTS[1]} --tcp-flags FIN,SYN,RST,ACK SYN"
    allowed = [f"-s {front} -i {link} {opens} -j RETURN" for front, link in links.items() if link != "lo"]
    local = f"{opens} -m addrtype --dst-type LOCAL -j DROP"
    others = [f"-d {node} {opens} -j DROP" for node in nodes]
    return ["-i lo -j RETURN", *allowed, local, *others]


def link_to(front: str) -> str:
    """The interface by which this machine reaches an address; `lo` for one of its own. Raises
    `HelperError`."""
    command = shutil.which("ip", path=iptables.PATH)
    if command is None:
        raise failed("ip isn't installed.", "firewall-unavailable", "Install `iproute2`.")
    try:
        done = subprocess.run(  # noqa: S603 (the argument is a parsed address)
            [command, "-json", "route", "get", front], capture_output=True, text=True,
            timeout=ROUTE_TIMEOUT, check=True, env={"PATH": iptables.PATH, "LC_ALL": "C"},
        )  # fmt: skip
        return str(json.loads(done.stdout)[0]["dev"])
    except (subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise _unreachable(front) from error


def _unreachable(front: str) -> HelperError:
    return failed(
        f"This machine has no route to the front at {front}.",
        "front-unreachable",
        "Check the network of this machine.",
    )
