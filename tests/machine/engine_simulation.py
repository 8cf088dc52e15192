"""A simulation with a Docker engine of its own, which it stops, kills and starts again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.integration.github import Github
from tests.integration.nginx import NginxUnderTest
from tests.integration.own_engine import OwnEngine
from tests.integration.stager import StagerUnderTest, docker
from tests.machine.simulation import Simulation

GOINGS_ALLOWED = 2
"""How often the engine goes: with what is stopped from outside besides, no more than five times in a row."""
VOLUME: dict[str, Any] = {"container_create_params": {"Volumes": {"/data": {}}}}
"""What gives each instance a volume without a name."""


class EngineSimulation(Simulation):
    """Stager and its previews while Docker is stopped, killed and started again.

    Args:
        engine: where `stager` runs its instances, each with a volume.
    """

    def __init__(
        self, stager: StagerUnderTest, github: Github, nginx: NginxUnderTest, engine: OwnEngine, seed: int
    ) -> None:
        super().__init__(stager, github, nginx, seed)
        self._engine = engine
        self._goings = 0
        # Of a container that Docker was making or removing when it went, it may have lost all but the volume,
        # which has no environment's name. Those of earlier runs are here, too.
        self._orphans = set(docker("volume", "ls", "--quiet").split())

    def _looked_at(self) -> dict[str, Sequence[Any]]:
        looked_at, containers = super()._looked_at(), self._stager.containers()
        volumes = set(docker("volume", "ls", "--quiet").split()) - self._orphans
        everybody = docker("ps", "--all", "--quiet").split()
        return {
            **looked_at,
            "volumes": sorted(volumes) if len(volumes) != len(containers) else [],
            "strangers": everybody if len(everybody) != len(containers) else [],
        }

    def _happenings(self) -> dict[Callable[[], None], int]:
        goings = (
            {self._engine_is_restarted: 2, self._engine_is_killed: 2} if self._goings < GOINGS_ALLOWED else {}
        )
        return {**super()._happenings(), **goings}

    def _engine_is_restarted(self) -> None:
        self._away(self._engine.stop)

    def _engine_is_killed(self) -> None:
        """Its containers go on, until the next one ends them."""
        self._away(self._engine.kill9)

    def _away(self, go: Callable[[], None]) -> None:
        """While it is away, life goes on."""
        self._goings += 1
        go()
        meanwhile = [self._open, self._push, self._close, self._launch, self._kill, self._forge_fails]
        for happening in self._dice.sample(meanwhile, self._dice.randrange(4)):
            self.history.append(f"  meanwhile: {happening.__name__.strip('_')}")
            happening()
        self._engine.start()
        self._orphans |= set(docker("volume", "ls", "--quiet", "--filter=dangling=true").split())
