"""The connection to GitHub."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, model_validator

from stager.settings.loading.refusals import refuse
from stager.settings.values.network import Url
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


AppId = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int)]
"""Usually a number, which YAML reads as one."""


def _both_or_neither(section: Section, first: str, second: str) -> None:
    if bool(getattr(section, first)) != bool(getattr(section, second)):
        given, missing = (first, second) if getattr(section, first) else (second, first)
        refuse(((missing,), f"is required, because `{given}` is given"))


class Credentials(Section):
    """A user and a password; neither is valid without the other."""

    user: str = ""
    """User name."""

    password: Secret = Secret()
    """Password or token."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        _both_or_neither(self, "user", "password")
        return self


class IncomingAuth(Credentials):
    """How webhook deliveries are authenticated."""

    hook_secret: Secret = Secret()
    """Webhook secret, with which GitHub signs deliveries. Without it, every delivery is refused."""

    allow_sha1: bool = False
    """Whether deliveries signed with SHA-1 only are accepted, as sent by old versions of GitHub Enterprise
    Server."""


class OutgoingAuth(Credentials):
    """The account for calls to GitHub's API: comments, statuses, open pull requests."""


class GitHub(Section):
    """The connection to GitHub."""

    misplaced: ClassVar = {
        **dict.fromkeys(
            ("token", "access_token", "pat"),
            "is called `outgoing_auth.password`; write"
            ' `outgoing_auth: {user: NAME, password: "${STAGER_GITHUB_TOKEN}"}`',
        ),
        **dict.fromkeys(
            ("hook_secret", "webhook_secret", "secret"),
            'belongs under `incoming_auth`; write `incoming_auth: {hook_secret: "${STAGER_HOOK_SECRET}"}`',
        ),
        **dict.fromkeys(("user", "password"), "belongs under `outgoing_auth`"),
        "repo": "belongs under an entry of `images`; write `repo: owner/name`",
    }

    incoming_auth: IncomingAuth = IncomingAuth()
    """Authentication of webhook deliveries."""

    outgoing_auth: OutgoingAuth = OutgoingAuth()
    """Account for calls to GitHub's API."""

    app_id: AppId = ""
    """Id of a GitHub App to use for API calls instead of `outgoing_auth`. An App created at `/setup/github`
    needs no entry."""

    private_key: Secret = Secret()
    """The App's private key as PEM, preferably `file:/path`."""

    client_id: str = ""
    """Id of the OAuth application, for signing in with GitHub."""

    client_secret: Secret = Secret()
    """Secret of the OAuth application. It is never sent to clients."""

    scope: str = "repo"
    """OAuth scope to request at sign-in. `repo` is needed to read permissions in private repositories;
    `read:user` suffices for public ones. Ignored for a GitHub App."""

    api_url: Url = "https://api.github.com"
    """URL of GitHub's API; change it for GitHub Enterprise Server."""

    web_url: Url = "https://github.com"
    """URL of GitHub's pages; change it for GitHub Enterprise Server."""

    comments: bool | None = None
    """Whether each pull request gets one comment, kept up to date. If absent, `true`, unless
    `post_launch_handlers` is an empty list."""

    deployments: bool = True
    """Whether each preview is reported as a GitHub deployment."""

    statuses: bool = True
    """Whether the newest commit of each pull request gets a commit status `stager/APP`."""

    @model_validator(mode="after")
    def _client_is_complete(self) -> Self:
        _both_or_neither(self, "client_id", "client_secret")
        return self

    @model_validator(mode="after")
    def _app_is_complete(self) -> Self:
        _both_or_neither(self, "app_id", "private_key")
        return self
