"""Applications that were added in the browser are a part of the configuration."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from stager.assembly.application_setup import BrowserSetup
from stager.domain.errors import Refused
from stager.ports.setup import NewApplication
from stager.settings.loading.loader import Loaded, load
from stager.settings.loading.problems import ConfigurationError

STATE = "state_dir: state\n"


class Folder:
    """A folder with config.yml and the state folder."""

    def __init__(self, path: Path) -> None:
        self.config, self.state = path / "config.yml", path / "state"
        self.state.mkdir()
        self.config.write_text(STATE)
        self.added = self.state / "setup.yml"
        self.reloads: list[None] = []
        self.setup = BrowserSetup(self.config, self.state, lambda: self.reloads.append(None))

    def loaded(self) -> Loaded:
        return load(self.config, environ={})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_local_repository(folder: Folder) -> None:
    assert folder.setup.add(NewApplication("shop", build="dockerfile")) == "shop"

    settings = folder.loaded().settings
    assert settings.local_forge == {"shop": folder.state / "repositories" / "shop.git"}
    build = settings.images["shop"].build
    assert build is not None
    assert build.context == "."
    assert folder.reloads == [None]
    assert stat.S_IMODE(folder.added.stat().st_mode) == 0o600


def test_a_github_repository_gives_the_name(folder: Folder) -> None:
    assert folder.setup.add(NewApplication(repository="acme/Shop")) == "shop"
    folder.setup.add(NewApplication("blog", "acme/blog", "image", "blog:1", "80"))

    applications = folder.loaded().settings.applications
    assert [(a.name, a.owner, a.repository_name) for a in applications] == [
        ("shop", "acme", "Shop"),
        ("blog", "acme", "blog"),
    ]
    assert applications.get("blog").port == 80


@pytest.mark.parametrize(
    ("application", "words"),
    [
        (NewApplication("a/b"), "lower-case letters"),
        (NewApplication("../x"), "lower-case letters"),
        (NewApplication("x" * 64), "lower-case letters"),
        (NewApplication("shop", "acme"), 'repo: should be a repository such as "acme/shop"'),
        (NewApplication("shop", "https://github.com/acme/shop"), "write `repo: acme/shop`"),
        (NewApplication("shop", build="image"), "Enter the name of the Docker image"),
        (NewApplication("shop", build="image", image="shop:1"), "port: is required"),
        (NewApplication("shop", build="image", image="A B", port="80"), "image"),
        (NewApplication("shop", port="99999"), "port"),
        (NewApplication("shop", port="8O"), "port"),
        (NewApplication("shop", build="evil"), "Choose how"),
        (NewApplication("shop", build="image", image="${HOME}", port="80"), "References"),
        (NewApplication("shop", build="image", image="file:/etc/passwd", port="80"), "References"),
        (NewApplication("shop", command="run '"), "command"),
        (NewApplication("shop", env={"A=B": "b"}), "env"),
        (NewApplication("shop", env={"A": "${HOME}"}), "References"),
        (NewApplication("shop", secrets={"A": "file:/etc/shadow"}), "References"),
        (NewApplication("known", "acme/x"), "There is an application known already"),
        (NewApplication("shop", "acme/known"), "already"),
    ],
)
def test_a_mistake_changes_nothing(folder: Folder, application: NewApplication, words: str) -> None:
    folder.config.write_text(f"{STATE}images: {{known: {{build: ., repo: acme/known}}}}\n")
    with pytest.raises(Refused) as caught:
        folder.setup.add(application)

    assert words in caught.value.message
    assert caught.value.reason == "setup-invalid"
    assert not folder.added.exists()
    assert folder.reloads == []


def test_command_variables_and_secrets(folder: Folder) -> None:
    """A token there is no mistake: only Stager's user can read the file. In config.yml it is one."""
    token = f"ghp_{'a' * 36}"
    given = NewApplication("shop", command="run --port 80", env={"MODE": "a=b"}, secrets={"TOKEN": token})
    folder.setup.add(given)

    loaded = folder.loaded()
    shop = loaded.settings.applications.get("shop")
    assert shop.command == ("run", "--port", "80")
    assert (dict(shop.variables), dict(shop.secrets)) == ({"MODE": "a=b"}, {"TOKEN": token})
    assert token not in repr(given)
    assert token not in repr(loaded.settings)
    assert not any("contains a token" in warning for warning in loaded.warnings)
    folder.config.write_text(f"{STATE}images: {{shop: {{build: ., secrets: {{TOKEN: {token}}}}}}}\n")
    assert any("contains a token" in warning for warning in folder.loaded().warnings)


def test_one_waits_until_the_control_plane_restarts(folder: Folder) -> None:
    folder.setup.add(NewApplication("shop"))
    assert folder.setup.is_waiting("shop")
    assert not BrowserSetup(folder.config, folder.state, lambda: None).is_waiting("shop")


def test_the_configuration_takes_precedence_and_says_so(folder: Folder) -> None:
    folder.setup.add(NewApplication("shop", "acme/shop"))
    folder.setup.add(NewApplication("blog"))
    folder.config.write_text(
        f"{STATE}images: {{shop: {{port: 80, repo: other/shop}}}}\nlocal_forge: repositories\n"
    )

    loaded = folder.loaded()
    assert loaded.settings.images["shop"].repo == "other/shop"
    assert set(loaded.settings.images) == {"shop", "blog"}
    [shop, forge] = [warning for warning in loaded.warnings if str(folder.added) in warning]
    assert shop.startswith("line 2: `images.shop` is also in")
    assert forge.startswith("line 3: `local_forge` replaces the entries")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("users: {a: b}", "users: can't be set here; move it to config.yml"),
        ("images: [shop]", "should be a mapping of mappings"),
        ("[images]", "should be a mapping of mappings"),
        ("images: {", "line 1"),
    ],
)
def test_a_file_that_was_changed_wrongly_is_named(folder: Folder, text: str, words: str) -> None:
    folder.added.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        folder.loaded()
    assert str(folder.added) in str(caught.value)
    assert words in str(caught.value)


def test_an_empty_file_has_no_entries(folder: Folder) -> None:
    folder.added.write_text("")
    assert folder.loaded().settings.images == {}
