"""The registry from which the nodes pull the images that previews run."""

from stager.engines.swarm.registry.builder import RegistryBuilder
from stager.engines.swarm.registry.images import RegistryImages

__all__ = ["RegistryBuilder", "RegistryImages"]
