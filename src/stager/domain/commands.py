"""What may be asked of Stager; event listeners answer with these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Launch:
    """Have a preview running.

    Args:
        image_name: the entry under `images:`.
        container_name: the branch, or any other name.
        parameters: environment variables for the instance.
    """

    image_name: str
    container_name: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kill:
    """Have a preview removed."""

    image_name: str
    container_name: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a call with this text and do nothing else."""

    body: str
    media_type: str = "text/plain"
    status: int = 200


Command = Launch | Kill | Reply
