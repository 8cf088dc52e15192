"""Roll back: which earlier revision of a preview is launched again, and what that does to its data."""

from __future__ import annotations

from collections.abc import Sequence

from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Refused

SHORTEST_COMMIT = 7
"""Digits of a commit id that name an earlier revision. Only commits that were live are considered: one that
somebody makes to match can't be chosen."""
SHORT = 7
"""Digits of a commit id in sentences."""


def earlier_revisions(deployments: Sequence[Deployment], current: Deployment) -> list[Deployment]:
    """The last deployment of each revision that was live before the current one, newest first. After a roll
    back, those that were live before the revision that it brought back.

    Args:
        deployments: of one environment, newest first.
        current: what visitors see or will see; for a roll back that isn't prepared, what it brings back.
    """
    first = min((d.generation for d in deployments if _is_same(d, current)), default=current.generation)
    found: list[Deployment] = []
    for deployment in deployments:
        is_new = not any(_is_same(deployment, other) for other in (current, *found))
        if deployment.generation < first and _was_live(deployment) and is_new:
            found.append(deployment)
    return found


def chosen_revision(
    environment: Environment, deployments: Sequence[Deployment], current: Deployment, wanted: str
) -> Deployment:
    """The deployment to bring back.

    Args:
        deployments: of the environment, newest first.
        current: see `earlier_revisions`.
        wanted: the first digits of a commit id or the number of a deployment; empty for the last good one.

    Raises:
        Refused: there is no such revision.
    """
    if not wanted:
        earlier = earlier_revisions(deployments, current)
        if not earlier:
            raise Refused(
                f'There is no earlier revision of "{environment.name}" that was live.',
                hint="Push a commit that fixes or reverts the change.",
                reason="rollback-none",
                status=409,
            )
        return earlier[0]
    live = [each for each in deployments if _was_live(each)]
    found = [each for each in live if _is_named(each, wanted)]
    commits = {each.revision.sha for each in found}
    if len(commits) > 1:
        raise Refused(
            f'"{wanted}" matches several commits of "{environment.name}".',
            hint="Give more digits of the commit's id.",
            reason="rollback-unknown",
            status=409,
        )
    if not found:
        raise _unknown(environment, live, wanted)
    if _is_same(found[0], current):
        is_newest = current.revision.sha == environment.desired.revision.sha
        raise Refused(
            f'"{environment.name}" has {title(found[0])} already.',
            hint="Use `redeploy` to deploy it again." if is_newest else "",
            reason="rollback-current",
            status=409,
        )
    return found[0]


def title(deployment: Deployment) -> str:
    """The revision in a sentence."""
    sha = deployment.revision.sha[:SHORT]
    return f"commit {sha}" if sha else f"deployment {deployment.generation}"


def effect_on_data(target: Deployment) -> str:
    """What launching this deployment again does to the preview's volumes, a sentence each; empty if it has
    none."""
    services = target.services
    volumes = {m.volume for each in services for m in each.spec.mounts if m.volume and not m.is_read_only}
    fresh = {name for each in services for name in each.fresh_volumes} & volumes
    clones = {name for each in services for name in each.clones} & volumes
    sentences = []
    if kept := volumes - fresh:
        sentences.append(
            f"Data in the {_listed(kept)} stays as the newer revision left it; migrations aren't undone."
        )
    if clones:
        sentences.append(f"The {_listed(clones)} starts again from the current snapshot.")
    if empty := fresh - clones:
        sentences.append(f"The {_listed(empty)} starts empty.")
    return " ".join(sentences)


def _listed(volumes: set[str]) -> str:
    return ", the ".join(f'volume "{name}"' for name in sorted(volumes))


def _was_live(deployment: Deployment) -> bool:
    """Whether it was live, and what it consisted of is known. The services of an adopted one aren't."""
    return deployment.live_at is not None and bool(deployment.services)


def _is_same(one: Deployment, other: Deployment) -> bool:
    """Whether both run the same revision: the same images of the same commit. The images of one that isn't
    prepared are unknown."""
    if one.revision.sha != other.revision.sha:
        return False
    if one.services and other.services:
        return one.images == other.images
    return bool(one.revision.sha)


def _is_named(deployment: Deployment, wanted: str) -> bool:
    if len(wanted) < SHORTEST_COMMIT:
        return wanted == str(deployment.generation)
    return deployment.revision.sha.startswith(wanted.lower())


def _unknown(environment: Environment, live: Sequence[Deployment], wanted: str) -> Refused:
    known = list(dict.fromkeys(title(each) for each in live))[:5]
    hint = f"These were: {', '.join(known)}." if known else "Push a commit that fixes or reverts the change."
    return Refused(
        f'No revision "{wanted[:64]}" of "{environment.name}" was live.',
        hint=hint,
        reason="rollback-unknown",
        status=404,
    )
