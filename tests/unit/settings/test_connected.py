"""GitHub connected means it works: no names of classes are needed."""

from __future__ import annotations

import pytest

from tests.unit.settings.conftest import LoadText

LISTENERS = ("LaunchOnGithubPullRequestOpened", "KillOnGithubPullRequestClosed")


@pytest.mark.parametrize(
    ("text", "listeners"),
    [
        ("", LISTENERS),
        ("event_listeners:", LISTENERS),
        ("local_forge: {}", LISTENERS),
        ("event_listeners: []", ()),
        ("event_listeners: KillOnGithubPullRequestClosed", LISTENERS[1:]),
    ],
)
def test_listeners_are_on_by_default(load_text: LoadText, text: str, listeners: tuple[str, ...]) -> None:
    assert load_text(text).settings.event_listeners == listeners


@pytest.mark.parametrize(
    ("text", "comments"),
    [
        ("", True),
        ("post_launch_handlers:", True),
        ("post_launch_handlers: []", False),
        ("post_launch_handlers: NotifyOnLaunch\nnotify: {urls: ['json://localhost']}", True),
        ("post_launch_handlers: []\ngithub: {comments: true}", True),
        ("github: {comments: false}", False),
        ("post_launch_handlers: AddGithubPullRequestCommentOnLaunch\ngithub: {comments: false}", False),
    ],
)
def test_the_comment_is_on_by_default(load_text: LoadText, text: str, comments: bool) -> None:
    assert load_text(text).settings.comments is comments
