"""What can be launched: the entries under `images:`, as control needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stager.domain.errors import Refused
from stager.domain.names import did_you_mean
from stager.domain.source import Repository
from stager.ports.engine import Limits


@dataclass(frozen=True, slots=True)
class Application:
    """One entry under `images:`.

    Args:
        image: the engine's name of the image; resolved afresh at each launch.
        command: split into words; empty for the image's own.
        owner: whose repository of this name belongs to it; empty for anybody's with a valid signature.
        variables: environment variables from the configuration.
        health_path: asked until it answers 2xx or 3xx; None: any answer of `/` below 500 will do.
        start_timeout: seconds until an application that doesn't answer is given up.
        drain_timeout: seconds that open requests have to end before an old instance goes.
        stop_grace: seconds between the polite stop of an instance and the other one.
        parameters: for the engine's create call.
    """

    name: str
    image: str
    port: int
    limits: Limits
    command: tuple[str, ...] = ()
    owner: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    health_path: str | None = None
    start_timeout: float = 300.0
    drain_timeout: float = 30.0
    stop_grace: float = 10.0
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def is_of(self, repository: Repository) -> bool:
        """Whether this repository's changes are its previews. GitHub's names don't distinguish case."""
        same_owner = not self.owner or self.owner.lower() == repository.owner.lower()
        return same_owner and self.name.lower() == repository.name.lower()


class Applications:
    """All of them, by name."""

    def __init__(self, applications: Mapping[str, Application]) -> None:
        self._by_name = dict(applications)

    def __iter__(self) -> Any:
        return iter(self._by_name.values())

    def get(self, name: str) -> Application:
        """The application of this name. Raises `Refused` when there is none."""
        found = self._by_name.get(name)
        if found is None:
            raise Refused(
                f'Invalid Image Specified: there is no "{name}" under `images:`.'
                if name
                else "Invalid Image Specified: the parameter image_name is missing.",
                hint=did_you_mean(name, self._by_name),
                reason="image-unknown",
            )
        return found

    def of_repository(self, repository: Repository) -> Application | None:
        """The application that this repository's changes are previews of."""
        return next((a for a in self._by_name.values() if a.is_of(repository)), None)
