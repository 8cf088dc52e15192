"""Signing in at the server's OpenID provider: GitHub's flow through the browser, under another name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.stranger import Answer, stranger
from tests.unit.cli.client.test_github import DEVICE, RECEIVER, says, says_list, sit

ADDRESS = "https://id.test/authorize?state=s1"


def test_an_address_is_enough_and_the_token_is_kept(run: Run, tmp_path: Path) -> None:
    with stranger() as there:
        run("configure", f"endpoint={there.url}", "auth_strategy=oidc")
        there.answers["GET /api/v1/environments"] = says_list()
        there.answers[RECEIVER] = [
            says(url=ADDRESS, state="s1", expires_in=600, code="BCDF-GHJK"),
            says(token="stager_session_secret", login="ann"),
        ]
        login = sit(tmp_path, "login", browser=False)
        assert login.ends() == 0, login.said
        assert ADDRESS in login.said
        assert "BCDF-GHJK" in login.said

        assert run("list").exit_code == 0
        assert there.asked[-1][2] == "Bearer stager_session_secret"
        said = [parse_qs(body) for method, path, _, body in there.asked if f"{method} {path}" == RECEIVER]
        assert [body["provider"] for body in said] == [["oidc"], ["oidc"]]


def test_a_server_without_it_is_reported_and_gets_no_further_request(run: Run, tmp_path: Path) -> None:
    with stranger() as there:
        run("configure", f"endpoint={there.url}", "auth_strategy=OpenIDConnect")
        there.answers[RECEIVER] = Answer(200, "", "text/plain")  # no listener takes the action
        login = sit(tmp_path, "login", browser=False)
        assert login.ends() == 3
        assert "This server doesn't offer signing in with OpenID Connect." in login.said
        assert "OpenIDConnectAuthorization" in login.said
        assert "auth_strategy=Token" in login.said
        assert DEVICE not in {f"{method} {path}" for method, path, _, _ in there.asked}
