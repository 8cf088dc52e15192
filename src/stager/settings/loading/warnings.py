"""Warnings about a valid configuration, shown at start and by `config check`.

Each can be acted on: its sentence says what happens and what to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from stager.settings.loading.problems import Problem, Trail, path_of
from stager.settings.model import Settings
from stager.settings.sections.pull_requests import LISTENERS
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section
from stager.state import StateDirectory

HTTP = 80
COMMENT = "AddGithubPullRequestCommentOnLaunch"

GITHUB_LISTENERS = frozenset(
    {
        "LaunchOnGithubPullRequestOpened",
        "ReLaunchOnGithubPullRequestSynchronized",
        "KillOnGithubPullRequestClosed",
    }
)

TOKENS = re.compile(
    r"gh[opsur]_\w{20}|github_pat_\w{20}|glpat-[\w-]{20}|xox[abeoprs]-[\w-]{10}|[rs]k_live_\w{10}|npm_\w{36}"
    r"|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    re.ASCII,
)
"""Beginnings of tokens and keys whose issuers give them a fixed form: GitHub, GitLab, Slack, Stripe, npm, AWS
and PEM."""


def warnings(settings: Settings, in_setup_file: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """Yield the warnings about these settings, one sentence each.

    Args:
        in_setup_file: the applications of the file that only Stager's user can read.
    """
    yield from _images(settings)
    yield from _owners(settings)
    yield from _tokens(settings, in_setup_file)
    yield from _sign_in(settings)
    yield from _private(settings)
    yield from _github(settings)
    yield from _fetching(settings)
    yield from _serving(settings)


def _images(settings: Settings) -> Iterator[Problem]:
    if not settings.images:
        yield Problem(
            "images",
            "`images` is empty, so no application can be launched. Add an entry, such as"
            " `images: {shop: {port: 3000}}`.",
        )
    for key, app in settings.images.items():
        if app.allow_create_params:
            allowed = ", ".join(app.allow_create_params)
            yield Problem.at(
                ("images", key, "allow_create_params"),
                f"`images.{key}.allow_create_params` weakens the isolation of its containers: {allowed}."
                " Remove what isn't needed.",
            )


def _listens(settings: Settings) -> bool:
    return bool(set(settings.event_listeners) & GITHUB_LISTENERS)


def _expects_deliveries(settings: Settings) -> bool:
    """Whether GitHub's deliveries should be accepted: there are credentials, or the configuration names a
    listener and has an application whose repository isn't on this machine. An App created at /setup/github
    has a webhook secret of its own."""
    github = settings.github
    if not _listens(settings) or (not github.app_id and _has_app(settings)):
        return False
    elsewhere = not settings.local_forge or bool(settings.images.keys() - settings.local_forge.keys())
    is_named = "event_listeners" in settings.model_fields_set and elsewhere
    return bool(is_named or github.app_id or github.outgoing_auth.user)


def _has_credentials(settings: Settings) -> bool:
    """Whether there are credentials for GitHub's API."""
    return bool(settings.github.outgoing_auth.user or _has_app(settings))


def _has_forge(settings: Settings) -> bool:
    """Whether pull requests can launch previews."""
    hook_secret = settings.github.incoming_auth.hook_secret
    return bool(hook_secret or settings.local_forge) or _has_credentials(settings)


def _has_app(settings: Settings) -> bool:
    """Whether there is a GitHub App: a configured one, or one created at /setup/github."""
    return bool(settings.github.app_id) or StateDirectory(settings.state_dir).github_app.exists()


def _owners(settings: Settings) -> Iterator[Problem]:
    """Applications that any repository of their name may be bound to, with access to their secrets."""
    takes_deliveries = settings.github.incoming_auth.hook_secret or _has_app(settings)
    if not _listens(settings) or not takes_deliveries:
        return
    for key, app in settings.images.items():
        if not app.repo_owner:
            yield Problem.at(
                ("images", key),
                f"`images.{key}` has no `repo`, so it is bound to the first repository named {key} that"
                f" sends a signed delivery, regardless of its owner. Add `repo: owner/{key}`.",
            )


def _tokens(settings: Settings, in_setup_file: frozenset[str]) -> Iterator[Problem]:
    for trail, secret in _secrets(settings, ()):
        if trail[:1] == ("images",) and trail[1] in in_setup_file:
            continue
        if not secret.is_reference and TOKENS.match(secret.reveal()):
            path = path_of(trail)
            yield Problem(
                path,
                f"`{path}` contains a token, which readers and backups of this file get. Refer to a variable,"
                " `${NAME}`, or a file, `file:/path`.",
            )


def _secrets(value: object, trail: Trail) -> Iterator[tuple[Trail, Secret]]:
    """All secrets in these settings, with their paths."""
    if isinstance(value, Secret):
        yield trail, value
    elif isinstance(value, Section):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name), (*trail, name))
    elif isinstance(value, Mapping):
        for name, below in value.items():
            yield from _secrets(below, (*trail, str(name)))


def _sign_in(settings: Settings) -> Iterator[Problem]:
    basic = "BasicAuthentication" in settings.authentication_strategy
    if not settings.authentication_strategy and not (settings.event_listeners and _has_forge(settings)):
        yield Problem(
            "authentication_strategy",
            "`authentication_strategy` is missing and no forge is connected, so nothing can launch a preview."
            " Add `authentication_strategy: BasicAuthentication` and `users`, or connect GitHub.",
        )
    if basic:
        yield from _users(settings)
    if "GithubAuthentication" in settings.authentication_strategy:
        for key, app in settings.images.items():
            if not app.repo_owner and key not in settings.local_forge:
                yield Problem.at(
                    ("images", key),
                    f"`images.{key}` has no `repo`, so GithubAuthentication rejects its launches. Add"
                    f" `repo: owner/{key}`.",
                )
    if "OpenIDConnectAuthentication" in settings.authentication_strategy and not _has_oidc_roles(settings):
        yield Problem(
            "oidc.roles",
            "Neither `oidc.roles` nor `roles` lists users of OpenID Connect, so none of them has a role. Add"
            " a group, such as `oidc: {roles: {engineers: developer}}`.",
        )
    if settings.users and not basic:
        yield Problem(
            "users",
            "`users` has no effect, because `authentication_strategy` lacks BasicAuthentication. Add it, or"
            " remove `users`.",
        )


def _users(settings: Settings) -> Iterator[Problem]:
    if not settings.users:
        yield Problem(
            "authentication_strategy",
            "`users` is empty, so BasicAuthentication rejects every direct request. Add a user, such as"
            ' `users: ["ann:${STAGER_PASSWORD}"]`.',
        )
    for i, user in enumerate(settings.users):
        if not (user.is_hashed or user.password.is_reference):
            yield Problem.at(
                ("users", i),
                f"`users[{i}]` has a password in plain text. Replace it with a hash made by"
                " `stager hash-password`, or refer to a variable, `name:${STAGER_PASSWORD}`.",
            )


def _has_oidc_roles(settings: Settings) -> bool:
    """Whether at least one user of OpenID Connect has a role."""
    by_name = any(name.startswith(("oidc:", "openidconnectauthentication:")) for name in settings.roles)
    return by_name or bool(getattr(getattr(settings, "oidc", None), "roles", None))


def _private(settings: Settings) -> Iterator[Problem]:
    """Previews that can't be seen, because their visitors must sign in and no strategy lets them."""
    if settings.authentication_strategy:
        return
    for key, app in settings.images.items():
        if app.private and app.private.privacy.ways <= {"sign-in", "link"}:
            is_own = app.private is not settings.defaults.private
            yield Problem.at(
                ("images", key, "private") if is_own else ("defaults", "private"),
                f"The previews of {key} are private, and no user can sign in to see them, because"
                " `authentication_strategy` is missing. Add a strategy, or use the method `password`.",
            )


def _github(settings: Settings) -> Iterator[Problem]:
    listeners = set(settings.event_listeners)
    if _expects_deliveries(settings) and not settings.github.incoming_auth.hook_secret:
        yield Problem(
            "github.incoming_auth" if "github" in settings.model_fields_set else "event_listeners",
            "`github.incoming_auth.hook_secret` is missing, so every delivery from GitHub is rejected. Set it"
            " to the webhook's secret, or create a GitHub App at /setup/github.",
        )
    is_sign_in_only = listeners and all(name.endswith("Authorization") for name in listeners)
    if is_sign_in_only and _has_credentials(settings):
        yield Problem(
            "event_listeners",
            "`event_listeners` replaces the default, so pull requests get no preview. Add"
            f" {' and '.join(LISTENERS)}.",
        )
    for provider in ("Github", "OpenIDConnect"):
        listener, strategy = f"{provider}Authorization", f"{provider}Authentication"
        if listener in listeners and strategy not in settings.authentication_strategy:
            yield Problem(
                "event_listeners",
                f"{listener} has no effect, because `authentication_strategy` lacks {strategy}. Add it, or"
                " remove the listener.",
            )
    is_named = COMMENT in settings.post_launch_handlers
    if (is_named or settings.github.comments) and not _has_credentials(settings):
        yield Problem(
            "post_launch_handlers" if is_named else "github.comments",
            "`github.outgoing_auth` is missing, so no comments can be written. Add `user` and `password`, or"
            " create a GitHub App at /setup/github.",
        )


def _fetching(settings: Settings) -> Iterator[Problem]:
    """Applications built from GitHub's commits, which are fetched anonymously without credentials."""
    if _has_credentials(settings):
        return
    for key, app in settings.images.items():
        if app.build and key not in settings.local_forge:
            yield Problem.at(
                ("images", key, "build"),
                f"The commits of {key} are fetched from GitHub without credentials, which only works for a"
                " public repository. Add `github.outgoing_auth`, or create a GitHub App at /setup/github.",
            )


def _serving(settings: Settings) -> Iterator[Problem]:
    if settings.nginx.target_dir and settings.routing_strategy != "NginxRoutingStrategy":
        yield Problem(
            "nginx",
            "`nginx` has no effect, because `routing_strategy` isn't NginxRoutingStrategy. Set"
            " `routing_strategy: nginx`, or remove `nginx`.",
        )
    if settings.haproxy.target_path and settings.routing_strategy != "HaproxyRoutingStrategy":
        yield Problem(
            "haproxy",
            "`haproxy` has no effect, because `routing_strategy` isn't HaproxyRoutingStrategy. Set"
            " `routing_strategy: haproxy`, or remove `haproxy`.",
        )
    if settings.tls and settings.scheme == "http":
        yield Problem(
            "tls",
            "`tls` is set but `scheme` is \"http\", so the previews' URLs don't use HTTPS. Set"
            " `scheme: https`.",
        )
    acme = settings.tls.acme if settings.tls else None
    if acme and not acme.dns and settings.listen.port != HTTP:
        yield Problem.at(
            ("tls", "acme"),
            "Issuers verify a host by a request to its port 80, and `listen` has another port. Unless"
            " something forwards port 80 to it, set `listen: 0.0.0.0:80`, or `tls.acme.dns`.",
        )
    if settings.domain and not _is_local(settings.domain) and _share_cookies(settings):
        yield Problem(
            "preview_domain" if settings.preview_domain else "domain",
            f"Previews and Stager's own pages share the domain {settings.previews}, so previews can read each"
            " other's cookies. Set `preview_domain` to a domain of its own.",
        )


def _is_local(domain: str) -> bool:
    """Whether only this machine reaches it (RFC 6761, section 6.3)."""
    return domain.partition(":")[0].rpartition(".")[2] == "localhost"


def _share_cookies(settings: Settings) -> bool:
    ours, theirs = (f".{name.partition(':')[0]}" for name in (settings.domain, settings.previews))
    return ours.endswith(theirs) or theirs.endswith(ours)
