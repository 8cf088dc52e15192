"""Checks the swarm and its registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stager.domain.errors import StagerError
from stager.engines.docker.client import connect, engine_errors
from stager.engines.swarm.registry.api import registry_api
from stager.engines.swarm.registry.credentials import credentials_of, docker_config
from stager.ports.diagnostics import Finding, Verdict

DIFFERS = (
    "With Docker Swarm, previews that sleep are stopped, `egress` isn't enforced, and there are no snapshots,"
    " no pictures and no previews of forks."
)


class SwarmCheck:
    """Checks that this engine is a manager of a swarm and that nodes take previews.

    Args:
        address: the address of the engine.
        ready: the label of nodes that take previews.
    """

    subject = "swarm"

    def __init__(self, address: str, ready: str) -> None:
        self._address = address
        self._ready = ready

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`. Raises `Retry` when the engine doesn't answer."""
        docker = connect(self._address)
        try:
            with engine_errors():
                swarm = (await docker.system.info()).get("Swarm") or {}
                if not swarm.get("ControlAvailable"):
                    return [self._not_a_manager(swarm)]
                nodes = await docker.nodes.list()
        finally:
            await docker.close()
        return [*self._of_nodes(nodes), Finding(self.subject, Verdict.OK, DIFFERS)]

    def _not_a_manager(self, swarm: Mapping[str, Any]) -> Finding:
        joined = swarm.get("LocalNodeState") == "active"
        why = "is a worker of a swarm" if joined else "isn't in a swarm"
        hint = "Run Stager on a manager." if joined else "Run `stager swarm init`."
        return Finding(self.subject, Verdict.ERROR, f"The engine {why}, and can't start services.", hint)

    def _of_nodes(self, nodes: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
        ready = 0
        for node in nodes:
            problem = self._problem(node)
            ready += not problem
            if problem:
                yield Finding(self.subject, Verdict.WARNING, f"The node {_name(node)} {problem}.")
        if ready:
            yield Finding(self.subject, Verdict.OK, f"{ready} of {len(nodes)} nodes take previews.")
        else:
            hint = "`stager nodes` shows why; `stager node join` adds one."
            yield Finding(self.subject, Verdict.ERROR, "No node takes previews.", hint)

    def _problem(self, node: Mapping[str, Any]) -> str:
        """Why a node takes no previews, as a predicate; empty if it does."""
        if node["Status"]["State"] != "ready":
            return "doesn't answer"
        if node["Spec"]["Availability"] != "active":
            return f"takes no previews: its availability is `{node['Spec']['Availability']}`"
        if (node["Spec"].get("Labels") or {}).get(self._ready) != "yes":
            return "takes no previews: its firewall isn't verified"
        return ""


class RegistryCheck:
    """Checks that the registry answers.

    Args:
        address: the address of the engine, which knows whether the registry uses TLS.
        registry: `host:port`, with a path if one is configured.
        config: Docker's configuration with the credentials; None for that of this user.
    """

    subject = "registry"

    def __init__(self, address: str, registry: str, installation: str, config: Path | None = None) -> None:
        self._address = address
        self._registry = registry
        self._installation = installation
        self._config = config or docker_config()

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        server, _, path = self._registry.partition("/")
        name = f"{path}/stager-{self._installation}" if path else f"stager-{self._installation}"
        docker = connect(self._address)
        try:
            async with registry_api(docker, credentials_of(server, self._config), name) as api:
                count = len(await api.tags())
        except StagerError as error:
            return [Finding(self.subject, Verdict.ERROR, f"{error.message} {error.detail}", error.hint)]
        finally:
            await docker.close()
        message = f"The registry {self._registry} answers and has {count} of Stager's images."
        return [Finding(self.subject, Verdict.OK, message)]


def _name(node: Mapping[str, Any]) -> str:
    return str(node["Description"].get("Hostname") or node["ID"])
