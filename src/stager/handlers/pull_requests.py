"""Launches, refreshes and removes previews as pull requests come and go."""

from __future__ import annotations

from stager.domain.commands import Command, Kill, Launch
from stager.domain.pull_requests.events import Call, ChangeAction, ChangeSeen
from stager.ports.handlers import EventListener


class LaunchOnGithubPullRequestOpened(EventListener):
    """A preview for each pull request that is opened or reopened, refreshed at each push to it. An edit, such
    as a label, starts nothing anew."""

    async def handle(self, event: ChangeSeen | Call) -> Command | None:
        if isinstance(event, Call) or event.action is ChangeAction.CLOSED:
            return None
        return Launch(image_name=event.app, container_name=event.change.head_ref)


class ReLaunchOnGithubPullRequestSynchronized(EventListener):
    """Refreshes a preview at each push.

    `LaunchOnGithubPullRequestOpened` does that too: this one is for configurations that name both, as the
    first Stager needed, or that want no preview before a push.
    """

    async def handle(self, event: ChangeSeen | Call) -> Command | None:
        if isinstance(event, Call) or event.action is not ChangeAction.SYNCHRONIZE:
            return None
        return Launch(image_name=event.app, container_name=event.change.head_ref)


class KillOnGithubPullRequestClosed(EventListener):
    """Removes the preview when its pull request is closed, merged or not."""

    async def handle(self, event: ChangeSeen | Call) -> Command | None:
        if isinstance(event, Call) or event.action is not ChangeAction.CLOSED:
            return None
        return Kill(image_name=event.app, container_name=event.change.head_ref)
