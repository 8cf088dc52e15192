"""Pictures of previews, as the settings define them."""

from __future__ import annotations

import aiodocker

from stager.engines.docker.pictures import DockerPhotographer
from stager.ports.pictures import PicturePorts, View
from stager.settings.model import Settings
from stager.state import StateDirectory
from stager.stores.pictures import FileAlbums


def pictures_of(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> PicturePorts | None:
    """What takes and stores pictures; None without `pictures.image`."""
    wanted = settings.pictures
    if not wanted.image:
        return None
    views = [View(route, width) for route in wanted.routes for width in wanted.widths]
    photographer = DockerPhotographer(docker, state.installation, wanted.image)
    return PicturePorts(photographer, FileAlbums(state.pictures), views)
