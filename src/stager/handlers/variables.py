"""Decides on launches by their variables."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from stager.domain.errors import Refused
from stager.ports.handlers import PreLaunchHandler, Preview


class RequireVariables(PreLaunchHandler):
    """Refuses a launch that lacks a variable, with a sentence that names it, before anything is started."""

    class Settings(BaseModel):
        """What every launch needs."""

        model_config = ConfigDict(use_attribute_docstrings=True)

        names: tuple[str, ...]
        """The variables, whether from `env` or from the launch; an empty one counts as lacking."""

    def __init__(self, settings: Settings) -> None:
        self._names = settings.names

    async def prepare(self, preview: Preview, variables: Mapping[str, str]) -> None:
        missing = [name for name in self._names if not variables.get(name)]
        if missing:
            raise Refused(
                f"{preview.image_name} needs the variable {missing[0]}.",
                hint="Give it with the launch, or under `env` in the configuration.",
                reason="variable-missing",
            )
