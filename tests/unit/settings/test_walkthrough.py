"""The configurations that the walkthrough prints load unchanged, but for the blank before the first line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.settings.loading.loader import Loaded, load
from stager.settings.loading.problems import ConfigurationError
from stager.settings.values.scalars import User
from stager.settings.values.secret import Secret

BLOCKS = Path(__file__).parents[2] / "fixtures" / "walkthrough"


def block(number: int) -> Loaded:
    return load(BLOCKS / f"block{number}.yml", environ={})


@pytest.mark.requirement("R39", "R41", "R42", "R43", "R62", "R99")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_block_describes_the_demo_application(number: int) -> None:
    app = block(number).settings.images["stager-demo"]

    assert app.port == 3000
    assert app.command == ("/bin/bash", "/run.sh")
    assert app.image == "stager-demo"
    assert app.container_create_params == {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "Tty": True,
    }


@pytest.mark.requirement("R44", "R45", "R46", "R47")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_block_names_its_strategies(number: int) -> None:
    settings = block(number).settings

    assert settings.routing_strategy == "NginxRoutingStrategy"
    assert settings.nginx.target_dir == Path("/etc/nginx/sites-enabled")
    assert settings.nginx.template_path == BLOCKS / "request_handlers" / "nginx.conf.erb"
    assert settings.authentication_strategy == ("BasicAuthentication",)


@pytest.mark.requirement("R48", "R51")
def test_the_first_block_has_a_user_and_is_warned_of_plain_text() -> None:
    loaded = block(1)

    assert loaded.settings.users == (User("testuser", Secret("testpassword")),)
    assert any("plain text" in warning for warning in loaded.warnings)


@pytest.mark.requirement("R62", "R63", "R80")
@pytest.mark.parametrize("number", [2, 3])
def test_the_later_blocks_have_github_and_no_users(number: int) -> None:
    loaded = block(number)
    github = loaded.settings.github

    assert loaded.settings.users == ()
    assert any("`users` is empty" in warning for warning in loaded.warnings)
    assert loaded.settings.event_listeners[:2] == (
        "LaunchOnGithubPullRequestOpened",
        "KillOnGithubPullRequestClosed",
    )
    assert loaded.settings.post_launch_handlers == ("AddGithubPullRequestCommentOnLaunch",)
    assert github.incoming_auth.user == "basic_auth_user_for_git_hook"
    assert github.incoming_auth.password.reveal() == "basic_auth_password_for_git_hook"
    assert github.incoming_auth.hook_secret.reveal() == "hook_secret"
    assert github.outgoing_auth.user == "username_for_outgoing_github_requests"
    assert github.outgoing_auth.password.reveal() == "password_for_outgoing_github_requests"


@pytest.mark.requirement("R99", "R100", "R104")
def test_the_third_block_prepares_for_signing_in_with_github() -> None:
    loaded = block(3)
    settings = loaded.settings

    owner = "account_name_which_owns_repo_inferred_from_image_name"
    assert settings.images["stager-demo"].repo_owner == owner
    assert settings.event_listeners[2] == "GithubAuthorization"
    assert settings.github.client_id == "github_app_client_id_for_creating_oauth_token"
    assert settings.github.client_secret.reveal() == "github_app_client_secret_for_creating_oauth_token"
    assert any("lacks GithubAuthentication" in warning for warning in loaded.warnings)


@pytest.mark.requirement("R39")
@pytest.mark.parametrize("number", [1, 3])
def test_the_blank_before_the_first_line_is_pointed_out(number: int, tmp_path: Path) -> None:
    as_printed = tmp_path / "config.yml"
    as_printed.write_text(" " + (BLOCKS / f"block{number}.yml").read_text("utf-8"), "utf-8")

    with pytest.raises(ConfigurationError, match="line 1: ` images:` is indented; remove the leading space"):
        load(as_printed, environ={})
