"""Links to the forge's pages with the differences between commits."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.control_plane import ControlPlane
from stager.domain.deployment import Deployment, deployed_sha
from stager.domain.environment import Environment
from stager.domain.identity.actor import Actor


@dataclass(frozen=True, slots=True)
class Diff:
    """A link to differences.

    Args:
        words: what is compared, such as `main...bfc6578`.
    """

    url: str
    words: str


@dataclass(frozen=True, slots=True)
class Diffs:
    """The links of a preview; None where there is nothing to compare.

    Args:
        base: from the base branch to the deployed commit.
        live: from the commit that was live before to the deployed one.
    """

    base: Diff | None = None
    live: Diff | None = None


async def diffs_of(control: ControlPlane, environment_id: str, actor: Actor) -> Diffs:
    """Return the links of a preview. Raises `Refused` (404) unless the actor may see it."""
    environment, found = await control.environments.queries.deployments(environment_id, actor)
    deployments = [deployment for deployment, _ in found]
    change = environment.change
    if change is None or not deployments:
        return Diffs()
    head = deployed_sha(environment, deployments[0])
    live = _first_live(deployments[1:])
    return Diffs(
        base=_diff(control, environment, change.base_ref, head),
        live=_diff(control, environment, live, head),
    )


async def since_before(
    control: ControlPlane, environment_id: str, actor: Actor, generation: int
) -> Diff | None:
    """Return the link from the commit that was live before a deployment to that of the deployment; None if
    there is none, or it is the same. Raises as `diffs_of` does."""
    environment, found = await control.environments.queries.deployments(environment_id, actor)
    until = [deployment for deployment, _ in found if deployment.generation <= generation]
    if not until:
        return None
    return _diff(control, environment, _first_live(until[1:]), until[0].revision.sha)


def _first_live(deployments: list[Deployment]) -> str:
    return next((each.revision.sha for each in deployments if each.live_at and each.revision.sha), "")


def _diff(control: ControlPlane, environment: Environment, base: str, head: str) -> Diff | None:
    change = environment.change
    forge = control.ports.forges.of(change.repository_id) if change else None
    if change is None or forge is None or not base or not head or base == head:
        return None
    url = forge.comparison(change, base, head)
    return Diff(url, f"{_short(base, change.base_ref)}...{head[:7]}") if url else None


def _short(base: str, branch: str) -> str:
    return base if base == branch else base[:7]
