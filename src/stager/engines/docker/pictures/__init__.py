"""Pictures of previews, taken by a browser in a container."""

from stager.engines.docker.pictures.photographer import DockerPhotographer

__all__ = ["DockerPhotographer"]
