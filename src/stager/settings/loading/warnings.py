"""What a configuration may say and yet should be thought over: warnings at start and of `config check`."""

from __future__ import annotations

from collections.abc import Iterator

from stager.settings.model import Settings

GITHUB_LISTENERS = frozenset(
    {
        "LaunchOnGithubPullRequestOpened",
        "ReLaunchOnGithubPullRequestSynchronized",
        "KillOnGithubPullRequestClosed",
    }
)


def warnings(settings: Settings) -> tuple[str, ...]:
    """The warnings that these settings deserve, one sentence each."""
    return (
        *_of_images(settings),
        *_of_owners(settings),
        *_of_sign_in(settings),
        *_of_github(settings),
        *_of_serving(settings),
    )


def _of_images(settings: Settings) -> Iterator[str]:
    if not settings.images:
        yield "`images` is empty, so there is nothing to launch."
    for key, app in settings.images.items():
        if app.allow_create_params:
            allowed = ", ".join(app.allow_create_params)
            yield f"Instances of {key} may leave their box: `allow_create_params` has {allowed}."


def _of_owners(settings: Settings) -> Iterator[str]:
    """Applications that any repository of their name may become, secrets included."""
    if not set(settings.event_listeners) & GITHUB_LISTENERS:
        return
    github = bool(settings.github.incoming_auth.hook_secret or settings.github.app_id)
    for key, app in settings.images.items():
        if not app.repo_owner and (github or key not in settings.local_forge):
            yield (
                f"`images.{key}` has no `repo_owner`, so it is bound to the first repository named {key} that"
                " sends a signed delivery, whoever owns that."
            )


def _of_sign_in(settings: Settings) -> Iterator[str]:
    basic = "BasicAuthentication" in settings.authentication_strategy
    if not settings.authentication_strategy:
        yield "`authentication_strategy` is missing, so every direct call is refused."
    if basic and any(not user.is_hashed for user in settings.users):
        yield (
            "BasicAuthentication keeps passwords in plain text; it is only meant for demonstrations and"
            " closed networks. `stager hash-password` makes hashes, which may stand there instead."
        )
    if basic and not settings.users:
        yield "BasicAuthentication is on and `users` is empty, so every direct call is refused."
    if "GithubAuthentication" in settings.authentication_strategy:
        for key, app in settings.images.items():
            if not app.repo_owner and key not in settings.local_forge:
                yield (f"`images.{key}` has no `repo_owner`, so GithubAuthentication lets nobody launch it.")
    if "OpenIDConnectAuthentication" in settings.authentication_strategy and not _gives_roles(settings):
        yield "`oidc.roles` and `roles` name nobody of `oidc`, so whoever signs in there may do nothing."
    if settings.users and not basic:
        yield "`users` has no effect, because `authentication_strategy` lacks BasicAuthentication."


def _gives_roles(settings: Settings) -> bool:
    """Whether anybody who signs in with OpenID Connect has a role."""
    by_name = any(name.startswith(("oidc:", "openidconnectauthentication:")) for name in settings.roles)
    return by_name or bool(getattr(getattr(settings, "oidc", None), "roles", None))


def _of_github(settings: Settings) -> Iterator[str]:
    listeners = set(settings.event_listeners)
    if listeners & GITHUB_LISTENERS and not settings.github.incoming_auth.hook_secret:
        yield "`github.incoming_auth.hook_secret` is missing, so every delivery of GitHub is refused."
    for provider in ("Github", "OpenIDConnect"):
        signs_in, knows = f"{provider}Authorization", f"{provider}Authentication"
        if signs_in in listeners and knows not in settings.authentication_strategy:
            yield f"{signs_in} signs nobody in, because `authentication_strategy` lacks {knows}."
    if settings.comments and not (settings.github.outgoing_auth.user or settings.github.app_id):
        yield "`github.outgoing_auth` is missing, so no comments can be written."


def _of_serving(settings: Settings) -> Iterator[str]:
    if settings.nginx.target_dir and settings.routing_strategy != "NginxRoutingStrategy":
        yield "`nginx` has no effect, because `routing_strategy` isn't NginxRoutingStrategy."
    if settings.tls and settings.scheme == "http":
        yield "`tls` is given while `scheme` is \"http\", so previews' URLs don't use it."
    if settings.domain and _share_cookies(settings):
        yield (
            f"Previews live under {settings.previews} together with Stager's own pages, so they can reach"
            " each other's cookies; `preview_domain` may name a domain of their own."
        )


def _share_cookies(settings: Settings) -> bool:
    ours, theirs = (f".{name.partition(':')[0]}" for name in (settings.domain, settings.previews))
    return ours.endswith(theirs) or theirs.endswith(ours)
