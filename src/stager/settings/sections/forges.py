"""The settings of forges besides GitHub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from stager.settings.loading.context import FolderPath
from stager.settings.loading.refusals import Unfit, refuse
from stager.settings.values.scalars import Form

LISTENERS = ["LaunchOnGithubPullRequestOpened", "KillOnGithubPullRequestClosed"]


def _one_folder_for_all(value: Any, info: ValidationInfo) -> Any:
    """A folder stands for a repository in it for each application that has no other."""
    if value is None:
        return {}
    if value == "":
        raise Unfit("should be a folder, or a mapping of names to paths")
    if not isinstance(value, str) or "images" not in info.data:
        return value
    images = info.data["images"]
    return {name: f"{value}/{name}.git" for name, app in images.items() if not app.repo_owner}


def _of_applications(repositories: dict[str, Path], info: ValidationInfo) -> dict[str, Path]:
    images = info.data.get("images")
    strangers = () if images is None else repositories.keys() - images.keys()
    if strangers:
        refuse(*(((name,), "should be the name of an entry under `images`") for name in sorted(strangers)))
    return repositories


def with_listeners(data: Any) -> Any:
    """The configuration with the listeners that make previews of changes, where it has a local repository and
    says nothing of listeners. An empty list says that there are none."""
    if not isinstance(data, dict) or not data.get("local_forge") or data.get("event_listeners") is not None:
        return data
    return {**data, "event_listeners": LISTENERS}


LocalForge = Annotated[
    dict[str, FolderPath],
    BeforeValidator(_one_folder_for_all, json_schema_input_type=dict[str, str] | str),
    AfterValidator(_of_applications),
    Form("path, or mapping of names to paths"),
]
"""The paths of bare repositories by the names of their applications; or one folder for all of them."""
