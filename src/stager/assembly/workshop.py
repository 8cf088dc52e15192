"""What images are built with, as the settings have it."""

from __future__ import annotations

import aiodocker

from stager.control.applications import SHA_PLACE
from stager.control.workshop import Workshop
from stager.engines.docker.builder import BuildxBuilder
from stager.settings.model import Settings
from stager.sources.git import GitSources
from stager.sources.limits import Limits
from stager.state import StateDirectory
from stager.stores.logs import FileLogs


def workshop_of(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> Workshop | None:
    """What images are built with, where an application is."""
    if not any(app.build or SHA_PLACE in app.image for app in settings.images.values()):
        return None
    builds = settings.builds
    limits = Limits(builds.largest_source, builds.fetch_timeout, submodules=builds.submodules)
    return Workshop(
        sources=GitSources(state.path / "sources", limits),
        builder=builder_of(settings, state, docker),
        logs=FileLogs(state.path / "builds"),
        at_once=builds.at_once,
    )


def builder_of(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> BuildxBuilder:
    builds = settings.builds
    return BuildxBuilder(
        docker,
        settings.engine.socket,
        state.installation,
        disk_floor=builds.disk_floor,
        cgroup_parent=builds.cgroup_parent,
        cache_limit=builds.cache,
    )
