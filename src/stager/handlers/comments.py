"""Switches for the pull-request comment.

The comment itself is written by `stager.control.reporting.pr_comment`, at each change of state, and is on by
default. These classes switch it on, and its removal, when the configuration names them.
"""

from __future__ import annotations

from stager.ports.handlers import PostLaunchHandler, PreKillHandler, Preview


class AddGithubPullRequestCommentOnLaunch(PostLaunchHandler):
    """Keeps one comment in the pull request up to date. On by default; needs a GitHub App or
    `github.outgoing_auth`."""

    async def launched(self, preview: Preview) -> None:
        """Do nothing: the reporter writes the comment."""


class RemoveGithubPullRequestCommentsOnKill(PreKillHandler):
    """Deletes Stager's comment, and no other, when the preview is removed. Without this handler the comment
    stays and says that the preview was removed."""

    async def killing(self, preview: Preview) -> None:
        """Do nothing: the reporter deletes the comment."""
