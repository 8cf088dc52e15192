"""Commands of the HTTP API and of the listeners' `action=` calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Launch:
    """Launch a preview, or replace the running one.

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
    """Remove a preview."""

    image_name: str
    container_name: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a call with this text and do nothing else."""

    body: str
    media_type: str = "text/plain"
    status: int = 200


Command = Launch | Kill | Reply
"""What a listener answers a call with. A pull request's event is answered with a `Decision`."""
