"""The variables of `stager up`: options, files, proposals and generated secrets."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from stager.cli.up.options import Given
from stager.cli.up.variables import SecretGenerator, Variables, completed, given_variables
from stager.domain.errors import Refused
from stager.project.variables import Variable
from tests.unit.cli.up.terminal import FakeTerminal

NONE = Variables({}, ())


def sample(name: str, value: str) -> Variable:
    return Variable(name, value, ".env.example", required=not value)


def proposed(*declared: Variable, given: Variables = NONE, terminal: FakeTerminal | None = None) -> Variables:
    return completed(
        given, declared, ["db", "cache"], lambda name: f"made-{name}", terminal or FakeTerminal()
    )


def test_options_precede_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_SHELL", "shell")
    (tmp_path / "a.env").write_text("A=1\nB=1\n# C=1\nexport D='x y' # note\n")
    (tmp_path / "b.env").write_text("B=2\nE=2\n")
    given = Given(("E=3", "F=", "FROM_SHELL"), (tmp_path / "a.env", tmp_path / "b.env"))
    found = given_variables(given, tmp_path, FakeTerminal(), is_tracked=False)
    assert found.values == {
        "A": "1", "B": "2", "D": "x y", "E": "3", "F": "", "FROM_SHELL": "shell"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("=kx7", "--env: expected NAME=VALUE"),
        ("A-B=kx7", "--env: expected NAME=VALUE"),
        ("kx7 kx7", "--env: expected NAME=VALUE"),
        ("UNSET_HERE", "--env: UNSET_HERE isn't set in this shell. Give it a value: --env UNSET_HERE=VALUE."),
    ],
)
def test_an_invalid_option_is_not_quoted(tmp_path: Path, assignment: str, sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        given_variables(Given((assignment,)), tmp_path, FakeTerminal(), is_tracked=False)
    assert str(caught.value).startswith(sentence)
    assert "kx7" not in str(caught.value)


def test_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"A=\xff")
    (tmp_path / "large").write_bytes(b"A" * ((1 << 20) + 1))
    for name, sentence in (
        ("no", "No such file"),
        ("latin", "UTF-8"),
        ("large", "larger"),
        (".", "directory"),
    ):
        with pytest.raises(Refused, match=sentence):
            given_variables(Given((), (tmp_path / name,)), tmp_path, FakeTerminal(), is_tracked=False)


def test_the_folders_own_env_is_offered(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1")
    for agrees, expected in ((True, {"A": "1"}), (False, {})):
        terminal = FakeTerminal(agrees=agrees)
        assert given_variables(Given(), tmp_path, terminal, is_tracked=False).values == expected
        assert terminal.asked == ["Set the variables of .env? The file isn't committed."]
    unasked = given_variables(Given(), tmp_path, FakeTerminal(), is_tracked=False)
    expected_note = "The file .env isn't used. Add --env-file .env to set its variables."
    assert unasked == Variables({}, (expected_note,))
    assert given_variables(Given(), tmp_path, FakeTerminal(agrees=True), is_tracked=True) == NONE


@pytest.mark.parametrize(
    "value", ["", "changeme", "CHANGE-ME", "<secret>", "your-secret-here", "xxxx", "secret"]
)
def test_placeholders_of_secrets_are_replaced(value: str) -> None:
    assert proposed(sample("SECRET_KEY", value)).values == {"SECRET_KEY": "made-SECRET_KEY"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://shop:shop@db:5432/shop"),
        ("REDIS_URL", "redis://cache"),
        ("CACHE_HOST", "cache"),
        ("BROKERS", "elsewhere:1,cache:2"),
        ("HOST", "localhost"),
        ("PORT", "5000"),
    ],
)
def test_what_would_not_work_is_not_proposed(name: str, value: str) -> None:
    assert proposed(sample(name, value)).values == {}


@pytest.mark.parametrize("value", ["sqlite:///dev.db", "https://db.example.org", "cached", "/var/db"])
def test_other_values_are(value: str) -> None:
    assert proposed(sample("PLACE", value)).values == {"PLACE": value}


def test_given_ones_are_kept() -> None:
    given = Variables({"SECRET_KEY": "own", "HOST": "localhost"}, ("A note.",))
    found = proposed(sample("SECRET_KEY", ""), sample("MODE", "fast"), given=given)
    assert found.values == {"SECRET_KEY": "own", "HOST": "localhost", "MODE": "fast"}
    assert found.notes == ("A note.", "Set as in .env.example: MODE.")


def test_empty_ones_are_prompted_for() -> None:
    terminal = FakeTerminal("de", "")
    found = proposed(Variable("LANG_CODE", "", "app.json", required=True, description="The language"),
                     sample("REGION", ""), Variable("EXTRA", "", "app.json"), terminal=terminal)  # fmt: skip
    assert found.values == {"LANG_CODE": "de"}
    assert terminal.asked == [
        "Value of LANG_CODE (The language), Enter for none",
        "Value of REGION, Enter for none",
    ]
    assert found.notes == ("Without a value: REGION. Set them with --env NAME=VALUE or --env-file.",)


def test_generated_secrets_stay_the_same(tmp_path: Path) -> None:
    first, again = SecretGenerator(tmp_path / "key"), SecretGenerator(tmp_path / "key")
    other = SecretGenerator(tmp_path / "other")
    assert first("A") == again("A")
    assert len({first("A"), first("B"), other("A")}) == 3
    assert len(first("A")) == 64
    assert len(base64.b64decode(first("APP_KEY").removeprefix("base64:"))) == 32
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_damaged_key_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    (tmp_path / "key.new").write_bytes(b"left by a killed run")
    assert SecretGenerator(tmp_path / "key")("A") == SecretGenerator(tmp_path / "key")("A")


def test_confidential_ones_are_those_that_the_repository_does_not_have() -> None:
    values = Variables({"A": "public-value", "B": "another", "C": "abc"}, ())
    assert values.confidential([sample("A", "public-value"), sample("B", "example")]) == {"B"}
