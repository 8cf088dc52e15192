"""Volumes of environments, their snapshots and clones, on Docker."""

from stager.engines.docker.data.data import DockerData
from stager.engines.docker.data.volumes import Volumes

__all__ = ["DockerData", "Volumes"]
