"""The stage in which a deployment failed."""

from __future__ import annotations

from enum import StrEnum

from stager.domain.deployment import Deployment


class Stage(StrEnum):
    """The stages of a deployment, in their order."""

    FETCHING = "fetching"
    """Stager reads the commit from its repository."""
    PREPARING = "preparing"
    """Stager reads the repository's files, finds images, runs hooks on the server, clones data."""
    BUILDING = "building"
    STARTING = "starting"
    CHECKING = "checking"
    """The services were started and aren't healthy yet."""
    RUNNING = "running"
    """It was live before."""


_FETCHING = ("source-", "submodule-")
_BY_REASON = {
    **dict.fromkeys(
        ("repository-missing", "commit-missing", "commit-not-a-tip", "ref-missing"), Stage.FETCHING
    ),
    **dict.fromkeys(("branch-missing", "lfs-missing"), Stage.FETCHING),
    **dict.fromkeys(("compose-refused", "compose-missing", "services-invalid"), Stage.PREPARING),
    **dict.fromkeys(("repository-file-invalid", "repository-file-ambiguous"), Stage.PREPARING),
    **dict.fromkeys(("dockerfile-missing", "image-missing", "image-awaited"), Stage.PREPARING),
    **dict.fromkeys(("server-hook-failed", "server-hook-failing", "application-removed"), Stage.PREPARING),
    **dict.fromkeys(("port-unknown", "port-ambiguous", "snapshot-missing", "seed-failed"), Stage.PREPARING),
    **dict.fromkeys(("build-failed", "build-refused", "build-too-slow", "builder-missing"), Stage.BUILDING),
    **dict.fromkeys(("untrusted-builder-missing", "image-refused", "image-too-large"), Stage.BUILDING),
}


_ENDS = ("exited", "out-of-memory")
"""An instance ended, whether its first check had begun or not."""


def stage_of(reason: str, deployment: Deployment) -> Stage:
    """The stage in which a failure for this reason happened: what the reason says, otherwise how far the
    deployment came."""
    if reason.startswith(_FETCHING):
        return Stage.FETCHING
    if reason in _ENDS and deployment.live_at is None:
        return Stage.STARTING
    return _BY_REASON.get(reason) or Stage(deployment.stage)
