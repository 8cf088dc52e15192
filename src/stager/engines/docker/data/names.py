"""The names of volumes in Docker.

A name has the installation, the environment, a number (see `VolumeKey`) and the name within the environment,
in this order. Environment and number contain no dash, so no name within an environment makes it the name of
another environment's volume. Workbenches have ids of the same kind.
"""

from __future__ import annotations

from stager.ports.data import VolumeKey


def volume_name(installation: str, volume: VolumeKey) -> str:
    """The name of a volume."""
    return f"stager-{installation}-{volume.environment}-{volume.number}-{volume.name}"


def filling_name(installation: str, volume: VolumeKey) -> str:
    """The name of an empty volume that exists while the content of another one is incomplete. A number has no
    dot, so it isn't the name of a volume of an environment."""
    return f"stager-{installation}-{volume.environment}-{volume.number}.filling-{volume.name}"
