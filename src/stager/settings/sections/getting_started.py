"""The keys that a first configuration needs."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, ValidationInfo, field_validator

from stager.settings.sections.applications import App, check_names
from stager.settings.sections.defaults import Defaults
from stager.settings.values.network import Domain
from stager.settings.values.section import Task


class GettingStarted(Task):
    """Launches need an application under `images` and an authentication strategy (see
    [Sign-in and roles](#sign-in-and-roles)). All other settings have defaults."""

    title: ClassVar = "Get started"
    example: ClassVar = """\
domain: demo.example.org
images:
  shop:                      # launched as image_name=shop, from the Docker image "shop"
    port: 3000
authentication_strategy: BasicAuthentication
users:
  - ann:${STAGER_PASSWORD}
"""

    domain: Domain = ""
    """Domain under which previews are served, as in a browser's address bar, with the port if it isn't the
    scheme's default: `demo.stager.io`, `localhost:8000`. If empty, it is taken from the first authenticated
    request."""

    defaults: Defaults = Defaults()
    """Defaults for all applications; see [Limits](#limits)."""

    images: dict[str, App] = Field(default_factory=dict, examples=["{shop: {port: 3000}}"])
    """The applications by name; see [Images and builds](#images-and-builds)."""

    @field_validator("images")
    @classmethod
    def _settled(cls, images: dict[str, App], info: ValidationInfo) -> dict[str, App]:
        check_names(images)
        defaults = info.data.get("defaults", Defaults())
        return {key: app.over(defaults).named(key) for key, app in images.items()}
