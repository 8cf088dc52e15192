"""Bare git repositories on this machine as a forge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from stager.settings.loading.context import FolderPath
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.values.scalars import Form


def _one_folder_for_all(value: Any, info: ValidationInfo) -> Any:
    """Expand a folder to one repository in it for each application without `repo_owner`."""
    if value is None:
        return {}
    if value == "":
        raise InvalidValue("should be a folder, or a mapping of names to paths")
    if not isinstance(value, str) or "images" not in info.data:
        return value
    images = info.data["images"]
    return {name: f"{value}/{name}.git" for name, app in images.items() if not app.repo_owner}


def _of_applications(repositories: dict[str, Path], info: ValidationInfo) -> dict[str, Path]:
    images = info.data.get("images")
    unknown = () if images is None else repositories.keys() - images.keys()
    if unknown:
        refuse(*(((name,), "should be the name of an entry under `images`") for name in sorted(unknown)))
    return repositories


LocalForge = Annotated[
    dict[str, FolderPath],
    BeforeValidator(_one_folder_for_all, json_schema_input_type=dict[str, str] | str),
    AfterValidator(_of_applications),
    Form("path, or mapping of names to paths"),
]
"""Paths of bare repositories by application name, or one folder for all of them."""
