"""Which ports of the loopback interface are given to which hosts: the doors of the route table.

Pure. A port that was given back rests as long as it can, because something that still holds an old connection
to it would otherwise reach somebody else's preview.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from stager.domain.route import RouteTable, needs_ingress_port


class IngressPortPool:
    """Gives ports to hosts.

    Args:
        numbers: the ports that there are.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._queue = deque(numbers)
        self._all = frozenset(self._queue)
        self._taken: dict[int, str] = {}

    @property
    def taken(self) -> Mapping[int, str]:
        """The ports on which nobody can listen, each with why."""
        return self._taken

    def give(self, table: RouteTable, host: str) -> RouteTable:
        """The table in which `host` has a port, if it should have one and there is one left."""
        if not needs_ingress_port(table.routes.get(host)) or host in table.ports.values():
            return table
        port = next((p for p in self._queue if p not in table.ports and p not in self._taken), None)
        if port is None:
            return table
        self._rest(port)
        return replace(table, ports={**table.ports, port: host})

    def replaced(self, table: RouteTable, taken: Mapping[int, str]) -> RouteTable:
        """The table in which other ports stand in for those that are taken by others."""
        self._taken.update(taken)
        for port in taken.keys() & self._all:
            self._rest(port)
        hosts = [table.ports[port] for port in taken]
        table = replace(table, ports={p: h for p, h in table.ports.items() if p not in taken})
        return self._all_given(table, hosts)

    def tidied(self, table: RouteTable, in_use: Callable[[str], bool]) -> RouteTable:
        """The table in which each host that should have a port has one, and no other.

        Args:
            in_use: whether something still leads to this host by its port.
        """
        self._taken.clear()
        kept = {
            port: host
            for port, host in table.ports.items()
            if port in self._all and (needs_ingress_port(table.routes.get(host)) or in_use(host))
        }
        for port in table.ports.keys() & self._all - kept.keys():
            self._rest(port)
        return self._all_given(replace(table, ports=kept), table.routes)

    def lacking(self, table: RouteTable) -> list[str]:
        """The hosts that should have a port and have none."""
        having = set(table.ports.values())
        return [h for h, target in table.routes.items() if needs_ingress_port(target) and h not in having]

    def _all_given(self, table: RouteTable, hosts: Iterable[str]) -> RouteTable:
        for host in hosts:
            table = self.give(table, host)
        return table

    def _rest(self, port: int) -> None:
        """Let it be the last to be given out."""
        self._queue.remove(port)
        self._queue.append(port)
