"""Launch, refresh and remove previews as pull requests are opened, pushed to and closed."""

from __future__ import annotations

from stager.domain.pull_requests.events import (
    Call,
    ChangeAction,
    ChangeEvent,
    Decision,
    LaunchPreview,
    RemovePreview,
)
from stager.ports.handlers import EventListener


class LaunchOnGithubPullRequestOpened(EventListener):
    """Launches a preview when a pull request is opened or reopened, and refreshes it at each push. An edit,
    such as a new label, doesn't restart it."""

    async def handle(self, event: ChangeEvent | Call) -> Decision | None:
        if isinstance(event, Call) or event.action is ChangeAction.CLOSED:
            return None
        return LaunchPreview()


class ReLaunchOnGithubPullRequestSynchronized(EventListener):
    """Refreshes a preview at each push.

    `LaunchOnGithubPullRequestOpened` does that, too. This listener is for configurations that name both, as
    the first Stager required, or that want no preview before a push.
    """

    async def handle(self, event: ChangeEvent | Call) -> Decision | None:
        if isinstance(event, Call) or event.action is not ChangeAction.SYNCHRONIZE:
            return None
        return LaunchPreview()


class KillOnGithubPullRequestClosed(EventListener):
    """Removes the preview when its pull request is closed, merged or not."""

    async def handle(self, event: ChangeEvent | Call) -> Decision | None:
        if isinstance(event, Call) or event.action is not ChangeAction.CLOSED:
            return None
        return RemovePreview()
