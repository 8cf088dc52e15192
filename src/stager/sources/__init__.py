"""Drivers that have commits fetched."""

from stager.sources.git import GitSources
from stager.sources.limits import Limits

__all__ = ["GitSources", "Limits"]
