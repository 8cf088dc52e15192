"""Drivers of `stager.ports.source`: fetch commits with git."""

from stager.sources.git import GitSources
from stager.sources.limits import Limits

__all__ = ["GitSources", "Limits"]
