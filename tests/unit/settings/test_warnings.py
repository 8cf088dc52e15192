"""Warnings: each given when it should be, and not otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.settings.conftest import LoadText

BASIC = "authentication_strategy: basic\nusers: ['joe:secret']\n"
QUIET = f"images: {{shop: {{port: 80}}}}\n{BASIC}"
HOOKED = "github: {incoming_auth: {hook_secret: x}, outgoing_auth: {user: a, password: b}}\n"

CASES = [
    ("images:", "`images` is empty"),
    (
        "images: {a: {port: 1, allow_create_params: [Binds]}}",
        "weakens the isolation of its containers: Binds",
    ),
    ("", "`authentication_strategy` is missing and no forge is connected"),
    ("users: ['joe:x']", "`users` has no effect"),
    ("authentication_strategy: basic", "`users` is empty"),
    ("authentication_strategy: basic\nusers: ['joe:x']", "plain text"),
    ("event_listeners: LaunchOnGithubPullRequestOpened", "hook_secret` is missing"),
    ("event_listeners: KillOnGithubPullRequestClosed", "hook_secret` is missing"),
    ("event_listeners: GithubAuthorization", "GithubAuthorization has no effect"),
    ("event_listeners: OpenIDConnectAuthorization", "OpenIDConnectAuthorization has no effect"),
    (
        "{authentication_strategy: oidc, oidc: {issuer: 'https://x', client_id: x, client_secret: y}}",
        "none of them has a role",
    ),
    ("{authentication_strategy: github, images: {shop: {port: 1}}}", "`images.shop` has no `repo`"),
    (HOOKED.replace("hook_secret: x", "hook_secret: ''"), "hook_secret` is missing"),
    (f"event_listeners: GithubAuthorization\n{HOOKED}", "`event_listeners` replaces the default"),
    ("github: {comments: true}", "no comments can be written"),
    (
        f"images: {{shop: {{port: 1}}}}\nevent_listeners: LaunchOnGithubPullRequestOpened\n{HOOKED}",
        "`images.shop` has no `repo`, so it is bound to the first repository",
    ),
    (
        f"images: {{shop: {{port: 1}}}}\nlocal_forge: {{shop: /srv/shop.git}}\n{HOOKED}",
        "bound to the first repository named shop",
    ),
    ("post_launch_handlers: AddGithubPullRequestCommentOnLaunch", "no comments can be written"),
    ("nginx: {target_dir: sites}", "`nginx` has no effect"),
    ("haproxy: {target_path: haproxy.cfg}", "`haproxy` has no effect"),
    ("tls: {listen: '0.0.0.0:443', certificate: c, key: k}", 'but `scheme` is "http"'),
    ("tls: {acme: {email: a@demo.io}}\ndomain: demo.io", "`listen` has another port"),
    ("domain: demo.io", "each other's cookies"),
    ("domain: demo.io:80\npreview_domain: p.demo.io", "each other's cookies"),
    ("domain: ci.demo.io\npreview_domain: demo.io", "each other's cookies"),
]


@pytest.mark.parametrize(("text", "words"), CASES)
def test_a_warning_is_given(load_text: LoadText, text: str, words: str) -> None:
    assert [warning for warning in load_text(text).warnings if words in warning]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "domain: demo.io\npreview_domain: demo.dev",
        "domain: mydemo.io\npreview_domain: demo.io",
        "tls: {listen: '0.0.0.0:443', certificate: c, key: k}\nscheme: https",
        f"images: {{shop: {{port: 80, repo_owner: acme}}}}\n{BASIC}"
        f"event_listeners: KillOnGithubPullRequestClosed\n{HOOKED}",
        f"images: {{shop: {{port: 80, repo: acme/shop}}}}\n{BASIC}{HOOKED}",
        f"images: {{shop: {{port: 80, repo: acme/shop}}}}\n{BASIC}{HOOKED}event_listeners: []",
        "local_forge: {shop: /srv/shop.git}\npost_launch_handlers: []",
    ],
)
@pytest.mark.requirement("R51")
def test_only_plain_text_is_warned_of_otherwise(load_text: LoadText, text: str) -> None:
    (warning,) = load_text(text if "images" in text else QUIET + text).warnings
    assert "plain text" in warning


def test_a_repository_on_this_machine_needs_no_owner(load_text: LoadText) -> None:
    text = "images: {shop: {port: 80}}\nlocal_forge: {shop: /srv/shop.git}\n"
    assert not [warning for warning in load_text(text).warnings if "repo_owner" in warning]


def test_an_app_of_the_setup_page_has_a_webhook_secret(load_text: LoadText, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "github-app.json").touch()
    text = f"state_dir: {state}\nimages: {{shop: {{port: 80}}}}\ngithub: {{comments: true}}"
    (owner,) = [warning for warning in load_text(text).warnings if "strategy" not in warning]
    assert "`images.shop` has no `repo`" in owner


def test_every_warning_is_a_sentence(load_text: LoadText) -> None:
    for text, _ in CASES:
        for warning in load_text(text).warnings:
            assert warning.endswith(".")
