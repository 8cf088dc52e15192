"""Builders and sources, as the settings define them."""

from __future__ import annotations

import aiodocker

from stager.control.ports import BuildPorts
from stager.domain.application import SHA_PLACEHOLDER
from stager.engines.docker.build.builder import BuildxBuilder
from stager.engines.docker.build.by_trust import BuilderByTrust
from stager.engines.docker.build.untrusted import Lending, UntrustedBuilder
from stager.helper_client import HelperClient
from stager.settings.model import Settings
from stager.sources.git import GitSources
from stager.sources.limits import Limits
from stager.state import StateDirectory
from stager.stores.logs import FileLogs


def build_ports_of(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> BuildPorts | None:
    """The ports of builds; None if no application is built or has `{sha}` in its image."""
    if not any(app.build or SHA_PLACEHOLDER in app.image for app in settings.images.values()):
        return None
    builds = settings.builds
    limits = Limits(builds.max_source_size, builds.fetch_timeout, submodules=builds.submodules)
    return BuildPorts(
        sources=GitSources(state.path / "sources", limits),
        builder=builder_by_trust(settings, state, docker),
        logs=FileLogs(state.path / "builds"),
        at_once=builds.max_concurrent,
        keep_revisions=builds.keep_revisions,
    )


def builder_by_trust(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> BuilderByTrust:
    """The builder, which passes code from forks to a builder of their own."""
    trusted, builds, forks = builder_of(settings, state, docker), settings.builds, settings.forks
    if forks.unsafe_shared_builder:
        return BuilderByTrust(trusted, None)
    lending = Lending(forks.base_images, forks.max_image_size, forks.builder_idle_timeout)
    untrusted = UntrustedBuilder(
        None if settings.helper == "off" else HelperClient(settings.helper_socket),
        docker,
        trusted,
        lending,
        disk_floor=builds.min_free_disk,
        cgroup_parent=builds.cgroup_parent,
    )
    return BuilderByTrust(trusted, untrusted)


def builder_of(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> BuildxBuilder:
    builds = settings.builds
    return BuildxBuilder(
        docker,
        settings.engine.socket,
        state.installation,
        disk_floor=builds.min_free_disk,
        cgroup_parent=builds.cgroup_parent,
        cache_limit=builds.cache_size,
    )
