"""What `RemoveGithubPullRequestCommentsOnKill` switches on: the one author takes its comment away."""

from __future__ import annotations

import pytest

from tests.unit.control.harness import Harness


@pytest.mark.parametrize("by_hand", [False, True])
async def test_only_our_comment_is_removed(*, by_hand: bool) -> None:
    async with Harness(removes=True).open() as harness:
        repository = harness.forge.add_repository("acme", "shop")
        event = harness.forge.open(repository, "b", "1" * 40)
        theirs = harness.forge.add_comment(event, "Looks good!")
        await harness.deliver(event)
        await harness.rest()
        assert len(harness.forge.comments) == 2
        closed = harness.forge.close(event) if not by_hand else None
        await (harness.deliver(closed) if closed else harness.stop("b"))
        await harness.rest()
        assert harness.forge.comments == [theirs]
        assert (await harness.the()).comment_id == ""
        await harness.deliver(harness.forge.push(event, "2" * 40) if by_hand else harness.forge.reopen(event))
        await harness.rest()
        assert len(harness.forge.comments) == 2, "what comes back is commented on again"
