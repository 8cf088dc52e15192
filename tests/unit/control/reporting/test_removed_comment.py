"""What `RemoveGithubPullRequestCommentsOnKill` switches on: the one author takes its comment away."""

from __future__ import annotations

import pytest

from tests.unit.control.harness import Harness


@pytest.mark.parametrize("by_hand", [False, True])
async def test_our_comment_goes_and_no_other(*, by_hand: bool) -> None:
    async with Harness(removes=True).open() as house:
        repository = house.forge.add_repository("acme", "shop")
        event = house.forge.open(repository, "b", "1" * 40)
        theirs = house.forge.add_comment(event, "Looks good!")
        await house.tell(event)
        await house.rest()
        assert len(house.forge.comments) == 2
        closed = house.forge.close(event) if not by_hand else None
        await (house.tell(closed) if closed else house.stop("b"))
        await house.rest()
        assert house.forge.comments == [theirs]
        assert (await house.the()).comment_id == ""
        await house.tell(house.forge.push(event, "2" * 40) if by_hand else house.forge.reopen(event))
        await house.rest()
        assert len(house.forge.comments) == 2, "what comes back is commented on again"
