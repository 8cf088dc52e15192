"""YAML as plain data: nothing lost, nothing guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.settings.loading.document import MAX_VALUES, Data, read, scalar
from stager.settings.loading.problems import ConfigurationError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-5", -5),
        ("1.5", 1.5),
        ("true", True),
        ("false", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("1.10", "1.10"),
        ("0755", "0755"),
        ("1e3", "1e3"),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("no", "no"),
        ("True", "True"),
        ("12:30:45", "12:30:45"),
        ("2014-10-02", "2014-10-02"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("0x10", "0x10"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1.50", "1.50"),
    ],
)
def test_a_scalar_is_a_number_only_where_it_would_be_written_back_the_same(text: str, value: Data) -> None:
    read_back = read(f"key: {text}", "config.yml")

    assert read_back == {"key": value}
    assert isinstance(read_back, dict)
    assert type(read_back["key"]) is type(value)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12))
def test_no_scalar_loses_its_text(text: str) -> None:
    value = scalar(text)
    if isinstance(value, bool):
        assert str(value).lower() == text
    elif value is None:
        assert text in {"", "~", "null"}
    else:
        assert str(value) == text


def test_keys_are_always_text() -> None:
    assert read("1: a\ntrue: b\n~: c", "config.yml") == {"1": "a", "true": "b", "~": "c"}


def test_anchors_may_be_used_again_and_merged() -> None:
    text = """
    base: &base {port: 1, memory: 2}
    also: &also {port: 7, cpus: 3}
    one: *base
    two: {<<: *base, port: 5}
    both: {<<: [*base, *also]}
    """
    data = read(text, "config.yml")

    assert isinstance(data, dict)
    assert data["one"] == {"port": 1, "memory": 2}
    assert data["two"] == {"port": 5, "memory": 2}
    assert data["both"] == {"port": 1, "memory": 2, "cpus": 3}


def test_an_empty_document_is_nothing() -> None:
    assert read("# nothing yet\n", "config.yml") is None


def aliases_of_aliases(levels: int) -> str:
    """A list of ten lists of ten lists, and so on, in a line a level."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (aliases_of_aliases(12), f"has more than {MAX_VALUES} values"),
        ("a: " + "[" * 5_000, "is nested too deeply"),
        ("a: " + "[" * 450 + "]" * 450, "is nested too deeply"),
        ("a: " + "{b: " * 450 + "}" * 450, "is nested too deeply"),
        ("a: &a [*a, *a]", "a[0]: contains itself"),
        ("? &a {*a : 1}\n: 2", "has a key that isn't text, at line 1"),
        (r'a: "x\0y"', "a: has an invalid character"),
        (r'a: "\ud800"', "a: has an invalid character"),
        (r'a: {b: 1, "x\udfff": 2}', "a: has a key that isn't text, at line 1"),
    ],
    ids=range(9),
)
def test_what_would_fill_the_memory_or_be_no_text_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text, "config.yml")

    assert str(caught.value.problems[0]) == problem


def test_characters_beyond_the_first_plane_are_text() -> None:
    assert read('a: "🚀 \\U0001F680 \\x1b"', "config.yml") == {"a": "🚀 🚀 \x1b"}
