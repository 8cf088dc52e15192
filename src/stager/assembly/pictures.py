"""Pictures of previews, as the settings define them."""

from __future__ import annotations

import aiodocker

from stager.engines.docker.pictures import DockerPhotographer
from stager.ports.pictures import PicturePorts
from stager.settings.model import Settings
from stager.state import StateDirectory
from stager.stores.pictures import FileAlbums


def pictures_of(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> PicturePorts | None:
    """What takes and stores pictures; None without `pictures.image`."""
    wanted = settings.pictures
    if not wanted.image:
        return None
    photographer = DockerPhotographer(docker, state.installation, wanted.image)
    return PicturePorts(photographer, FileAlbums(state.pictures), wanted.options)
