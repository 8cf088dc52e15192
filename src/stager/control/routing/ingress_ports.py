"""Assignment of ingress ports, ports of the loopback interface that each lead to one host.

Pure. A port that is released is reused as late as possible: an old connection to it could otherwise reach
another preview.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from stager.domain.route import RouteTable, needs_ingress_port


class IngressPortPool:
    """Assigns ports to hosts.

    Args:
        numbers: the configured ports.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._queue = deque(numbers)
        self._all = frozenset(self._queue)
        self._taken: dict[int, str] = {}

    @property
    def taken(self) -> Mapping[int, str]:
        """The ports that other programs use, each with the error."""
        return self._taken

    def assign(self, table: RouteTable, host: str) -> RouteTable:
        """The table with a port for `host`, if it needs one and one is free."""
        if not needs_ingress_port(table.routes.get(host)) or host in table.ports.values():
            return table
        port = next((p for p in self._queue if p not in table.ports and p not in self._taken), None)
        if port is None:
            return table
        self._move_to_end(port)
        return replace(table, ports={**table.ports, port: host})

    def reassign(self, table: RouteTable, taken: Mapping[int, str]) -> RouteTable:
        """The table with other ports for the hosts of ports that other programs use."""
        self._taken.update(taken)
        for port in taken.keys() & self._all:
            self._move_to_end(port)
        hosts = [table.ports[port] for port in taken]
        table = replace(table, ports={p: h for p, h in table.ports.items() if p not in taken})
        return self._assign_all(table, hosts)

    def tidy(self, table: RouteTable, in_use: Callable[[str], bool]) -> RouteTable:
        """The table with a port for each host that needs one, and without all other ports.

        Args:
            in_use: whether the edge proxy may still use the port of this host.
        """
        self._taken.clear()
        kept = {
            port: host
            for port, host in table.ports.items()
            if port in self._all and (needs_ingress_port(table.routes.get(host)) or in_use(host))
        }
        for port in table.ports.keys() & self._all - kept.keys():
            self._move_to_end(port)
        return self._assign_all(replace(table, ports=kept), table.routes)

    def lacking(self, table: RouteTable) -> list[str]:
        """The hosts that need a port and have none."""
        assigned = set(table.ports.values())
        return [h for h, target in table.routes.items() if needs_ingress_port(target) and h not in assigned]

    def _assign_all(self, table: RouteTable, hosts: Iterable[str]) -> RouteTable:
        for host in hosts:
            table = self.assign(table, host)
        return table

    def _move_to_end(self, port: int) -> None:
        self._queue.remove(port)
        self._queue.append(port)
