"""Which pull requests get a preview, and where they come from."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from stager.domain.pull_requests.rules import Rules
from stager.settings.loading.context import NameOf
from stager.settings.sections.github import GitHub
from stager.settings.sections.local_forge import LocalForge
from stager.settings.values.patterns import Pattern, pattern
from stager.settings.values.scalars import ONE_OR_MANY, POSITIVE, Duration
from stager.settings.values.section import Section, Task

LISTENERS = ("LaunchOnGithubPullRequestOpened", "KillOnGithubPullRequestClosed")
"""The default event listeners. They have no effect without a connection to a forge: every delivery is refused
then."""

_Texts = Annotated[tuple[str, ...], ONE_OR_MANY]
_Pattern = Annotated[str, AfterValidator(pattern)]


class PullRequests(Section):
    """Rules for the pull requests that get a preview. A pull request that doesn't meet them gets one comment
    with the reason. `[skip preview]` in a title or description always means no preview."""

    labels: _Texts = ()
    """Only pull requests with one of these labels."""

    without_labels: _Texts = ()
    """Only pull requests with none of these labels."""

    title: _Pattern = ""
    """Only pull requests whose title matches this regular expression, such as `^feat`. RE2 syntax, without
    lookaround and backreferences; a leading `(?i)` ignores case."""

    without_title: _Pattern = ""
    """Only pull requests whose title doesn't match this regular expression, such as `(?i)^wip`."""

    paths: _Texts = ()
    """Only pull requests that change a file matching one of these patterns, such as `web/*`; `*` also matches
    `/`."""

    authors: _Texts = ()
    """Only pull requests opened by one of these accounts."""

    bases: _Texts = ()
    """Only pull requests into a branch that matches one of these patterns, such as `main` or `release/*`."""

    drafts: bool = True
    """Whether drafts get a preview."""

    bots: bool = False
    """Whether pull requests opened by bots get a preview, such as dependency updates."""

    wait_for_checks: bool = False
    """Whether a commit's checks must have passed first."""

    @property
    def rules(self) -> Rules:
        """The rules as a domain value."""
        given = self.model_dump()
        patterns = {key: Pattern(given[key]) if given[key] else None for key in ("title", "without_title")}
        return Rules(**{**given, **patterns})


class PullRequestSources(Task):
    """Previews of pull requests need a connection to GitHub: a GitHub App, which one click creates at
    `/setup/github` without any of these keys, or a webhook secret and an account.
    [Connect GitHub](../how-to/github-webhook.md) describes the steps."""

    title: ClassVar = "Pull requests"
    nested: ClassVar[tuple[str, ...]] = ("pull_requests",)
    example: ClassVar = """\
images:
  shop:
    port: 3000
    repo: acme/shop
    pull_requests:
      without_labels: no-preview
      paths: [web/*, shared/*]
      bases: main
github:
  incoming_auth:
    hook_secret: ${STAGER_HOOK_SECRET}
  outgoing_auth:
    user: acme-previews
    password: ${STAGER_GITHUB_TOKEN}
"""

    event_listeners: Annotated[
        tuple[Annotated[str, NameOf("event_listeners")], ...],
        ONE_OR_MANY,
    ] = LISTENERS
    """Event listeners in order; the first that handles an event wins. The default launches previews as pull
    requests are opened and pushed to, and removes them as they are closed. A list replaces the default; an
    empty list switches it off."""

    github: GitHub = GitHub()
    """Connection to GitHub."""

    local_forge: LocalForge = Field(default_factory=dict)
    """Bare git repositories on this machine. Each branch except the default one becomes a preview, without a
    GitHub account. A mapping of application names to paths, or one folder that contains `NAME.git` for each
    application without `repo_owner`. Missing repositories are created."""

    resync_interval: Annotated[Duration, POSITIVE] = 300.0
    """Interval at which the open pull requests are fetched, to recover from lost webhooks."""
