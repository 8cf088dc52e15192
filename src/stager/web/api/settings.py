"""The settings in force, for administrators."""

from __future__ import annotations

from pydantic import BaseModel, Field

from stager.domain.identity.roles import Action
from stager.web.api.router import api_router
from stager.web.context import Control, Known, Web

router = api_router("installation")


class SettingView(BaseModel):
    """A setting in force."""

    path: str = Field(description="Such as `images.shop.port`.")
    value: str = Field(description="As text. Secrets, and what is read from variables and files, are masked.")
    origin: str = Field(description="Such as `line 7`, `line 7, ${TOKEN}`, or `default`.")


class SettingsView(BaseModel):
    """The configuration in force."""

    file: str = Field(description="The path of the configuration file; empty if there is none.")
    warnings: list[str]
    settings: list[SettingView]


@router.get("/settings")
async def get_settings(control: Control, web: Web, actor: Known) -> SettingsView:
    """Get the settings in force with where each comes from, and the warnings. For administrators."""
    await control.identity.authorizer.check(actor, Action.READ_SETTINGS)
    views = [SettingView(path=each.path, value=each.value, origin=each.origin) for each in web.settings()]
    return SettingsView(file=web.options.configuration, warnings=list(web.options.warnings), settings=views)
