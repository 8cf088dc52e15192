"""Masking of secrets in texts."""

from __future__ import annotations

from stager.domain.text import MASK, masking


def test_replaces_all_secrets_the_longest_first() -> None:
    text = "FATAL: password hunter2 of hunter2-long is wrong: abc"

    assert masking(["hunter2", "hunter2-long", "abc", ""])(text) == (
        f"FATAL: password {MASK} of {MASK} is wrong: abc"
    )


def test_replaces_each_line_of_a_secret() -> None:
    assert (
        masking(["-----BEGIN\nkey1\nkey2\n"])("it has key2, and -----BEGIN") == f"it has {MASK}, and {MASK}"
    )


def test_leaves_texts_without_secrets() -> None:
    assert masking([])("all of it") == "all of it"
