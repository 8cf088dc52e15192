"""The switches of the one author of comments, which hears every change of state by itself.

Naming these in the configuration has `stager.control.reporting.pr_comment` write, and take its comment away.
"""

from __future__ import annotations

from stager.ports.handlers import PostLaunchHandler, PreKillHandler, Preview


class AddGithubPullRequestCommentOnLaunch(PostLaunchHandler):
    """Keeps one comment in the pull request up to date. Needs `github.outgoing_auth`."""

    async def launched(self, preview: Preview) -> None:
        """Nothing to do here: the reporter has heard of it."""


class RemoveGithubPullRequestCommentsOnKill(PreKillHandler):
    """Removes that comment, and no other, when the preview goes. Without, it stays and says so."""

    async def killing(self, preview: Preview) -> None:
        """Nothing to do here: the reporter will hear of it."""
