"""Warnings about a valid configuration, shown at start and by `config check`."""

from __future__ import annotations

from collections.abc import Iterator

from stager.settings.model import Settings
from stager.settings.sections.pull_requests import LISTENERS
from stager.state import StateDirectory

COMMENT = "AddGithubPullRequestCommentOnLaunch"
GITHUB_LISTENERS = frozenset(
    {
        "LaunchOnGithubPullRequestOpened",
        "ReLaunchOnGithubPullRequestSynchronized",
        "KillOnGithubPullRequestClosed",
    }
)


def warnings(settings: Settings) -> tuple[str, ...]:
    """Return the warnings about these settings, one sentence each."""
    return (
        *_images(settings),
        *_owners(settings),
        *_sign_in(settings),
        *_github(settings),
        *_serving(settings),
    )


def _images(settings: Settings) -> Iterator[str]:
    if not settings.images:
        yield "`images` is empty, so no application can be launched."
    for key, app in settings.images.items():
        if app.allow_create_params:
            allowed = ", ".join(app.allow_create_params)
            yield f"`images.{key}.allow_create_params` weakens the isolation of its containers: {allowed}."


def _owners(settings: Settings) -> Iterator[str]:
    """Applications that any repository of their name may be bound to, with access to their secrets."""
    takes_deliveries = settings.github.incoming_auth.hook_secret or _has_app(settings)
    if not set(settings.event_listeners) & GITHUB_LISTENERS or not takes_deliveries:
        return
    for key, app in settings.images.items():
        if not app.repo_owner:
            yield (
                f"`images.{key}` has no `repo`, so it is bound to the first repository named {key} that"
                f" sends a signed delivery, regardless of its owner. Set `repo: OWNER/{key}`."
            )


def _sign_in(settings: Settings) -> Iterator[str]:
    basic = "BasicAuthentication" in settings.authentication_strategy
    if not settings.authentication_strategy:
        yield "`authentication_strategy` is missing, so every direct request is rejected."
    if basic and any(not user.is_hashed for user in settings.users):
        yield (
            "`users` has passwords in plain text, which is meant for demonstrations and closed networks only."
            " Replace them with hashes made by `stager hash-password`."
        )
    if basic and not settings.users:
        yield "`users` is empty, so BasicAuthentication rejects every direct request."
    if "GithubAuthentication" in settings.authentication_strategy:
        for key, app in settings.images.items():
            if not app.repo_owner and key not in settings.local_forge:
                yield f"`images.{key}` has no `repo`, so GithubAuthentication rejects its launches."
    if "OpenIDConnectAuthentication" in settings.authentication_strategy and not _has_oidc_roles(settings):
        yield "Neither `oidc.roles` nor `roles` lists users of OpenID Connect, so none of them has a role."
    if settings.users and not basic:
        yield "`users` has no effect, because `authentication_strategy` lacks BasicAuthentication."


def _has_oidc_roles(settings: Settings) -> bool:
    """Whether at least one user of OpenID Connect has a role."""
    by_name = any(name.startswith(("oidc:", "openidconnectauthentication:")) for name in settings.roles)
    return by_name or bool(getattr(getattr(settings, "oidc", None), "roles", None))


def _github(settings: Settings) -> Iterator[str]:
    listeners = set(settings.event_listeners)
    if _expects_deliveries(settings) and not settings.github.incoming_auth.hook_secret:
        yield (
            "`github.incoming_auth.hook_secret` is missing, so every delivery from GitHub is rejected. Set it"
            " to the webhook's secret, or create a GitHub App at /setup/github."
        )
    if listeners and all(name.endswith("Authorization") for name in listeners) and _has_account(settings):
        yield (
            "`event_listeners` replaces the default, so pull requests get no preview. Add"
            f" {' and '.join(LISTENERS)}."
        )
    for provider in ("Github", "OpenIDConnect"):
        listener, strategy = f"{provider}Authorization", f"{provider}Authentication"
        if listener in listeners and strategy not in settings.authentication_strategy:
            yield f"{listener} has no effect, because `authentication_strategy` lacks {strategy}."
    wants_comments = settings.github.comments or COMMENT in settings.post_launch_handlers
    if wants_comments and not _has_account(settings):
        yield (
            "`github.outgoing_auth` is missing, so no comments can be written. Set it, or create a GitHub App"
            " at /setup/github."
        )


def _has_account(settings: Settings) -> bool:
    """Whether there are credentials for GitHub's API."""
    return bool(settings.github.outgoing_auth.user or _has_app(settings))


def _has_app(settings: Settings) -> bool:
    """Whether there is a GitHub App: a configured one, or one created at /setup/github."""
    return bool(settings.github.app_id) or StateDirectory(settings.state_dir).github_app.exists()


def _expects_deliveries(settings: Settings) -> bool:
    """Whether GitHub's deliveries should be accepted: there are credentials, or the configuration names a
    listener. An App created at /setup/github has a webhook secret of its own."""
    if not set(settings.event_listeners) & GITHUB_LISTENERS:
        return False
    is_named = "event_listeners" in settings.model_fields_set and not settings.local_forge
    github = settings.github
    has_stored_app = not github.app_id and _has_app(settings)
    return not has_stored_app and bool(is_named or github.app_id or github.outgoing_auth.user)


def _serving(settings: Settings) -> Iterator[str]:
    if settings.nginx.target_dir and settings.routing_strategy != "NginxRoutingStrategy":
        yield "`nginx` has no effect, because `routing_strategy` isn't NginxRoutingStrategy."
    if settings.tls and settings.scheme == "http":
        yield "`tls` is set but `scheme` is \"http\", so the previews' URLs don't use HTTPS."
    if settings.domain and _share_cookies(settings):
        yield (
            f"Previews and Stager's own pages share the domain {settings.previews}, so previews can read each"
            " other's cookies. Set `preview_domain` to a domain of its own."
        )


def _share_cookies(settings: Settings) -> bool:
    ours, theirs = (f".{name.partition(':')[0]}" for name in (settings.domain, settings.previews))
    return ours.endswith(theirs) or theirs.endswith(ours)
