"""Volumes of environments, their snapshots and clones, on Docker."""

from stager.engines.docker.data.data import DockerData
from stager.engines.docker.data.pool import DataHelper
from stager.engines.docker.data.volumes import Volumes
from stager.engines.docker.data.workbench import DockerWorkbench

__all__ = ["DataHelper", "DockerData", "DockerWorkbench", "Volumes"]
