"""The App that GitHub makes by our description, and where its secrets are kept."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from stager.domain.errors import Fault, Refused
from stager.forges.github.api.responses import AppCredentials
from stager.forges.github.app_setup import manifest
from stager.forges.github.app_setup.keyring import Keyring

HOME = "https://demo.example.org"
GITHUB = "https://github.com"
APP = AppCredentials("4711", "a pem", "stager-acme", "https://github.com/apps/stager-acme", "Iv1", "s1", "s2")


class TestManifest:
    def test_describes_the_app(self) -> None:
        proposal = manifest.proposal(GITHUB, HOME, "", "a state")
        about = json.loads(proposal.manifest)

        assert about["url"] == HOME
        assert about["hook_attributes"] == {"url": f"{HOME}/webhooks/github", "active": True}
        assert about["redirect_url"] == f"{HOME}/setup/github/callback"
        assert about["public"] is False
        assert about["name"] == "Stager demo.example.org"
        assert "issue_comment" in about["default_events"]
        assert about["default_permissions"]["issues"] == "read", "or GitHub refuses `issue_comment`"
        assert "administration" not in about["default_permissions"]
        assert set(dict(proposal.permissions)) == {
            f"{name}: {level}" for name, level in about["default_permissions"].items()
        }

    def test_writes_only_where_it_must(self) -> None:
        about = manifest.manifest(HOME, reachable=True)
        permissions = about["default_permissions"]
        assert isinstance(permissions, dict)
        assert {name for name, level in permissions.items() if level == "write"} == {
            "pull_requests",
            "deployments",
            "statuses",
        }

    @pytest.mark.parametrize(
        ("organization", "path"),
        [("", "/settings/apps/new"), ("acme", "/organizations/acme/settings/apps/new")],
    )
    def test_is_posted_to_its_owners_page(self, organization: str, path: str) -> None:
        target = urlsplit(manifest.proposal(GITHUB, HOME, organization, "a+b&c=d").target)

        assert (target.scheme, target.netloc, target.path) == ("https", "github.com", path)
        assert parse_qs(target.query) == {"state": ["a+b&c=d"]}

    @pytest.mark.parametrize("organization", ["a/b", "..", "-a", "a-", "a b", "x" * 40, "ä", "a?b", "a\n"])
    def test_an_organization_that_cant_be(self, organization: str) -> None:
        with pytest.raises(Refused) as caught:
            manifest.proposal(GITHUB, HOME, organization, "state")
        assert caught.value.reason == "organization-invalid"

    @pytest.mark.parametrize("host", ["x" * 60 + ".example.org", "a.example.org", "127.0.0.1"])
    def test_a_name_isnt_longer_than_github_takes(self, host: str) -> None:
        name = manifest.manifest(f"https://{host}", reachable=True)["name"]
        assert isinstance(name, str)
        assert 0 < len(name) <= 34

    @pytest.mark.parametrize(
        ("web_url", "home", "reachable"),
        [
            (GITHUB, HOME, True),
            (GITHUB, "http://203.0.113.7:8000", False),
            (GITHUB, "http://9.9.9.9:8000", True),
            (GITHUB, "http://localhost:8000", False),
            (GITHUB, "http://demo.localhost:8000", False),
            (GITHUB, "http://127.0.0.1", False),
            (GITHUB, "http://[::1]:8000", False),
            (GITHUB, "http://10.0.0.7", False),
            (GITHUB, "http://stager", False),
            (GITHUB, "https://stager.corp.internal", False),
            ("https://acme.ghe.com", "http://stager", False),
            ("https://github.acme.example", "http://stager", True),
            ("https://github.acme.example", "http://10.0.0.7", True),
            ("https://github.acme.example", "http://localhost:8000", False),
            ("https://github.acme.example", "http://127.0.0.1", False),
        ],
    )
    def test_none_are_requested_if_deliveries_cant_arrive(
        self, web_url: str, home: str, reachable: bool
    ) -> None:
        proposal = manifest.proposal(web_url, home, "", "state")
        about = json.loads(proposal.manifest)

        assert proposal.reachable is reachable
        assert ("hook_attributes" in about) is reachable
        assert ("default_events" in about) is reachable


class TestKeyring:
    def test_keeps_all_of_it(self, tmp_path: Path) -> None:
        keyring = Keyring(tmp_path / "github-app.json")
        assert keyring.load() is None
        keyring.save(APP)
        assert Keyring(tmp_path / "github-app.json").load() == APP

    def test_is_private(self, tmp_path: Path) -> None:
        path = tmp_path / "github-app.json"
        path.with_suffix(".new").write_text("left over")
        path.with_suffix(".new").chmod(0o666)
        Keyring(path).save(APP)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [file.name for file in tmp_path.iterdir()] == ["github-app.json"]

    def test_a_new_one_takes_the_place_of_the_old_one(self, tmp_path: Path) -> None:
        keyring = Keyring(tmp_path / "github-app.json")
        keyring.save(APP)
        keyring.save(AppCredentials("1", "another pem"))
        assert keyring.load() == AppCredentials("1", "another pem")

    def test_what_cant_be_written_leaves_the_old_one(self, tmp_path: Path) -> None:
        keyring = Keyring(tmp_path / "github-app.json")
        keyring.save(APP)
        (tmp_path / "github-app.new").mkdir()
        with pytest.raises(Fault) as caught:
            keyring.save(AppCredentials("1", "another pem"))
        assert caught.value.reason == "app-credentials-unusable"
        assert keyring.load() == APP

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"id": 7}', '{"pem": "a secret"'])
    def test_what_cant_be_read_is_reported_without_quoting_it(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "github-app.json"
        path.write_text(content)
        with pytest.raises(Fault) as caught:
            Keyring(path).load()
        assert str(path) in caught.value.message
        assert "a secret" not in repr(caught.value) + caught.value.message
        assert caught.value.__cause__ is None

    def test_secrets_dont_show(self) -> None:
        for secret in ("a pem", "s1", "s2"):
            assert repr(secret) not in repr(APP)
