"""The page with the settings in force, for administrators."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from stager.domain.identity.roles import Action
from stager.settings.in_force import DEFAULT, SettingInForce
from stager.web.context import Control, Known, Web
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

PATH = "/settings"


@router.get(PATH)
async def settings(
    control: Control,
    web: Web,
    actor: Known,
    show: Annotated[Literal["changed", "all"], Query()] = "changed",
    text: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Show what is in force, where it comes from, and the warnings."""
    await control.identity.authorizer.check(actor, Action.READ_SETTINGS)
    every = web.settings()
    changed = [each for each in every if each.origin != DEFAULT]
    found = [each for each in (changed if show == "changed" else every) if _matches(each, text.strip())]
    return render(
        "settings.html",
        frame=await frame_of(control, actor, "settings"),
        file=web.options.configuration,
        warnings=web.options.warnings,
        sections=[(key, list(those)) for key, those in groupby(found, _section)],
        filters=[
            ("From the file", PATH, len(changed), show == "changed"),
            ("All", f"{PATH}?show=all", len(every), show == "all"),
        ],
        show=show,
        text=text,
    )


def _matches(setting: SettingInForce, text: str) -> bool:
    return text.lower() in f"{setting.path} {setting.value}".lower()


def _section(setting: SettingInForce) -> str:
    return setting.path.split(".", 1)[0].split("[", 1)[0]
