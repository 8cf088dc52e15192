"""The configuration as a whole. Each field is one setting: its type, its default and its description."""

from __future__ import annotations

from typing import ClassVar, Self, cast

from pydantic import model_validator

from stager.domain.allocation import Limits
from stager.domain.application import Applications
from stager.settings.loading.refusals import refuse
from stager.settings.sections.access import PreviewAccess
from stager.settings.sections.applications import App
from stager.settings.sections.builds import ImagesAndBuilds
from stager.settings.sections.data import PreviewData
from stager.settings.sections.defaults import Defaults
from stager.settings.sections.engine import impossible_on_swarm
from stager.settings.sections.foreign_keys import FOREIGN_KEYS
from stager.settings.sections.forks import ForksAndIsolation
from stager.settings.sections.getting_started import GettingStarted
from stager.settings.sections.operation import LimitSettings, Notifications, Operation
from stager.settings.sections.pull_requests import PullRequestSources
from stager.settings.sections.services.task import Services
from stager.settings.sections.serving import Serving
from stager.settings.sections.sign_in import SignIn
from stager.settings.values.section import Task


class Settings(
    # The last base's fields come first, as the chapters: a validator sees the fields before its own.
    Operation,
    Notifications,
    LimitSettings,
    ForksAndIsolation,
    Serving,
    SignIn,
    PreviewAccess,
    PullRequestSources,
    PreviewData,
    Services,
    ImagesAndBuilds,
    GettingStarted,
):
    """The content of `config.yml`. Every key has a default: Stager starts without a configuration."""

    form: ClassVar = "images: {shop: {port: 3000}}"
    misplaced: ClassVar = {
        **FOREIGN_KEYS,
        **dict.fromkeys(App.model_fields, "belongs under an entry of `images`"),
        **dict.fromkeys(("token", "password"), "belongs under `github.outgoing_auth`"),
        **dict.fromkeys(("applications", "apps"), "is called `images`"),
        **dict.fromkeys(Defaults.model_fields, "belongs under `defaults`, or under one of the `images`"),
    }

    @model_validator(mode="after")
    def _possible_on_swarm(self) -> Self:
        if self.is_swarm and (found := [*impossible_on_swarm(self.images, self.defaults, self.pictures)]):
            refuse(*found)
        return self

    @property
    def is_swarm(self) -> bool:
        """Whether previews run on the nodes of a Docker Swarm."""
        return self.engine.kind == "swarm"

    @property
    def applications(self) -> Applications:
        """The entries of `images` as the domain's applications."""
        forks = self.forks
        return Applications(
            {
                name: app.application(
                    name,
                    is_local=name in self.local_forge,
                    shares_builder=forks.unsafe_shared_builder,
                    fork_images=forks.images,
                    confines_forks=not self.is_swarm,
                )
                for name, app in self.images.items()
            }
        )

    @property
    def limits(self) -> Limits:
        """The limits of what previews use together."""
        capacity = self.capacity
        return Limits(
            host=capacity.limit,
            application=capacity.application.limit,
            author=capacity.author.limit,
            previews=self.max_previews,
            free_memory=capacity.free_memory,
            free_disk=capacity.free_disk,
        )

    @property
    def previews(self) -> str:
        """The domain of the previews; empty if none is configured."""
        return self.preview_domain or self.domain

    @property
    def builds_forks(self) -> bool:
        """Whether at least one application builds code from forks."""
        return not self.is_swarm and any(app.build and app.forks != "off" for app in self.images.values())

    @property
    def comments(self) -> bool:
        """Whether pull requests get a comment."""
        is_off = "post_launch_handlers" in self.model_fields_set and not self.post_launch_handlers
        return not is_off if self.github.comments is None else self.github.comments


TASKS = tuple(reversed(cast("tuple[type[Task], ...]", Settings.__bases__)))
"""The chapters of the reference page, in order."""
