"""Only our comment is removed, however its id was lost."""

from __future__ import annotations

import pytest

from stager.domain.errors import Refused
from stager.forges.github.api.pull_requests import GithubPullRequests
from tests.doubles.github import GithubDouble, GithubPull
from tests.unit.forges.github.test_reports import MARKER, link, pull, said, say

__all__ = ["pull"]


@pytest.mark.parametrize("remembered", [True, False])
async def test_only_ours_is_removed(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull, *, remembered: bool
) -> None:
    known = await say(client, pull, "live")
    github.add_comment(pull, f"Looks good! {MARKER}")
    await client.uncomment(link(pull), marker=MARKER, known=known if remembered else "")
    assert said(pull) == [f"Looks good! {MARKER}"]


@pytest.mark.parametrize("known", ["", "4711"])
async def test_one_that_is_not_there_is_as_good_as_gone(
    client: GithubPullRequests, pull: GithubPull, known: str
) -> None:
    await client.uncomment(link(pull), marker=MARKER, known=known)
    assert pull.comments == []


async def test_a_refusal_is_reported(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    known = await say(client, pull, "live")
    github.fail("DELETE", known, status=403)
    with pytest.raises(Refused):
        await client.uncomment(link(pull), marker=MARKER, known=known)
    assert said(pull) == ["live"]
