"""The names of pluggable classes that a configuration may use; plugins add theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stager.domain.names import did_you_mean

Kind = Literal[
    "routing_strategy",
    "authentication_strategy",
    "event_listeners",
    "pre_launch_handlers",
    "post_launch_handlers",
    "pre_kill_handlers",
]
"""The settings that name classes."""

BUILT_IN: Mapping[Kind, Mapping[str, str]] = {
    "routing_strategy": {"EmbeddedRoutingStrategy": "embedded", "NginxRoutingStrategy": "nginx"},
    "authentication_strategy": {"BasicAuthentication": "basic"},
    "event_listeners": {
        "LaunchOnGithubPullRequestOpened": "",
        "ReLaunchOnGithubPullRequestSynchronized": "",
        "KillOnGithubPullRequestClosed": "",
        "GithubAuthorization": "",
    },
    "pre_launch_handlers": {},
    "post_launch_handlers": {"AddGithubPullRequestCommentOnLaunch": ""},
    "pre_kill_handlers": {},
}
"""What comes with Stager, by kind: each name with its short form, empty where it has none."""

NOT_YET: Mapping[str, str] = {
    "HaproxyRoutingStrategy": "EmbeddedRoutingStrategy serves previews without HAProxy",
    "haproxy": "EmbeddedRoutingStrategy serves previews without HAProxy",
    "GithubAuthentication": "use BasicAuthentication until then",
    "github": "use BasicAuthentication until then",
    "PostToSlackOnLaunch": "remove it until then",
    "RemoveGithubPullRequestCommentsOnKill": "the one comment is kept up to date after a kill, too",
    "StatusReport": "GET /api/v1/environments lists what runs",
    "RequestInspector": "the log names every delivery",
}
"""The first Stager's names that this version doesn't have, each with what to do instead."""


@dataclass(frozen=True, slots=True)
class Known:
    """Every name that is known, by the setting that may hold it."""

    names: Mapping[Kind, Mapping[str, str]] = field(default_factory=lambda: BUILT_IN)
    not_yet: Mapping[str, str] = field(default_factory=lambda: NOT_YET)

    def full_name(self, kind: Kind, name: str) -> str:
        """The full name for `name`, which may be a short form.

        Raises:
            ValueError: this version doesn't have it.
        """
        names = self.names[kind]
        if name in names:
            return name
        full = next((full for full, short in names.items() if short == name), None)
        return full if full is not None else self._stranger(kind, name)

    def _stranger(self, kind: Kind, name: str) -> str:
        if name in self.not_yet:
            raise ValueError(f'"{name}" isn\'t available in this version; {self.not_yet[name]}')
        names = self.names[kind]
        hint = did_you_mean(name, [*names, *filter(None, names.values())])
        raise ValueError(f"unknown name; {hint or _list(names)}")


def _list(names: Mapping[str, str]) -> str:
    return f"known are {', '.join(names)}" if names else "this version has none of this kind"
