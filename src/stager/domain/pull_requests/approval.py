"""Whether code from forks may run: the suspension for forks, and approvals by commit id."""

from __future__ import annotations

from stager.domain.environment import Environment, Suspension, SuspensionReason
from stager.domain.errors import Refused
from stager.domain.source import Change, is_commit_id

FORKS_ARE_OFF = Suspension(
    SuspensionReason.FORK,
    "No preview: this pull request comes from a fork, and previews of forks are off.",
    "Someone with push access can push the branch to this repository.",
)


def check_approval(sha: str, head: str) -> None:
    """Refuse an approval that doesn't name exactly the commit that would run.

    Args:
        sha: the commit id in the approval, in lower case.
        head: the id of the commit that would run; empty for none.

    Raises:
        Refused: `commit-incomplete` for anything but a full id, `commit-outdated` for another commit.
    """
    pending = f"The commit that is waiting for approval is {head}." if head else "No commit is waiting."
    if not is_commit_id(sha):
        raise Refused(
            f'"{sha[:64]}" isn\'t a full commit id (40 or 64 hex digits). {pending}',
            hint="Compare it with the commit that you have read, then copy the full id: many commits can "
            "share its first digits.",
            reason="commit-incomplete",
        )
    if sha != head:
        raise Refused(
            f"{sha} isn't the commit that is waiting for approval. {pending}",
            hint="Read that commit, then approve it by its full id.",
            reason="commit-outdated",
            status=409,
        )


def is_approved(environment: Environment | None, change: Change) -> bool:
    """Whether somebody with push access allowed the head commit of this change to run."""
    return (
        environment is not None
        and environment.approved_sha != ""
        and environment.approved_sha == change.head_sha
    )
