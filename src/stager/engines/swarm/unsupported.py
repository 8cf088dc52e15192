"""What Swarm can't do, as an error."""

from __future__ import annotations

from stager.domain.errors import Fault


def unsupported(what: str) -> Fault:
    """The error of a call that an engine `swarm` has no answer to.

    Args:
        what: what can't be done, such as "pause a preview".
    """
    return Fault(
        f"The engine `swarm` can't {what}.",
        hint="Use `engine: {kind: docker}` for it.",
        reason="not-on-swarm",
    )
