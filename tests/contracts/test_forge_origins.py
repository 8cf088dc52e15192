"""What every forge promises of where commits are."""

from __future__ import annotations

from stager.domain.errors import Retry
from tests.contracts.forges import A, Forge


async def test_a_change_has_its_commits_in_the_base_repository(forge: Forge) -> None:
    own, forked = forge.open("feature/x", A), forge.open("feature/y", A, fork=True)

    assert (await forge.origins.origin(forge.repository, own)).refs
    theirs = await forge.origins.origin(forge.repository, forked)
    assert theirs.refs != (await forge.origins.origin(forge.repository, own)).refs
    assert theirs.url == (await forge.origins.origin(forge.repository, None)).url


async def test_the_repositorys_own_commits_need_no_ref(forge: Forge) -> None:
    assert (await forge.origins.origin(forge.repository, None)).refs == ()


async def test_credentials_show_nowhere(forge: Forge) -> None:
    origin = await forge.origins.origin(forge.repository, forge.open("feature/x", A))

    assert "@" not in origin.url
    assert not origin.authorization or origin.authorization not in repr(origin)


async def test_limits_are_unknown_before_the_first_response(forge: Forge) -> None:
    assert forge.redelivery.limits() is None


async def test_failed_requests_are_retried(forge: Forge) -> None:
    """Or it needn't be asked: then there is an answer."""
    forge.fail()
    try:
        assert (await forge.origins.origin(forge.repository, None)).url
    except Retry:
        return
