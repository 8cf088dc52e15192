"""Checks the variables of launches."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from stager.domain.errors import Refused
from stager.ports.handlers import PreLaunchHandler, Preview


class RequireVariables(PreLaunchHandler):
    """Refuses a launch without a required variable, before anything is started; the error names it."""

    class Settings(BaseModel):
        """Variables that every launch requires."""

        names: tuple[str, ...]
        """Names of the variables, from `env` or from the launch. An empty value counts as missing."""

    def __init__(self, settings: Settings) -> None:
        self._names = settings.names

    async def prepare(self, preview: Preview, variables: Mapping[str, str]) -> None:
        missing = [name for name in self._names if not variables.get(name)]
        if missing:
            raise Refused(
                f"{preview.image_name} requires the variable {missing[0]}.",
                hint="Pass it with the launch, or set it under `env` in the configuration.",
                reason="variable-missing",
            )
