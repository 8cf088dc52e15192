"""Git remotes of GitHub's repositories."""

from __future__ import annotations

from stager.domain.source import Repository
from stager.forges.github.api.credentials import GithubAccount
from stager.ports.forge import Origins
from stager.ports.source import Origin


class GithubOrigins(Origins):
    """Remotes over HTTPS with the credentials in a header: in a URL they would be stored in git's
    configuration.

    Args:
        web_url: GitHub's web address, which git uses, too.
    """

    def __init__(self, account: GithubAccount, web_url: str) -> None:
        self._account = account
        self._web_url = web_url.rstrip("/")

    async def origin(self, repository: Repository, number: int | None) -> Origin:
        """See the port. A fork's commits are also in the base repository, as `refs/pull/N/head`."""
        return Origin(
            url=f"{self._web_url}/{repository.full_name}.git",
            refs=() if number is None else (f"refs/pull/{number}/head",),
            authorization=await self._account.for_git(repository.owner, repository.name),
        )
