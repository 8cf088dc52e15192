"""What a comment asks for, and what only looks as if it did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.domain.pull_requests.comment_command import (
    ABOUT,
    ALIASES,
    LONGEST_WORD,
    PREFIX,
    CommentCommand,
    Verb,
    parse_command,
)


class TestVerbs:
    @pytest.mark.parametrize("verb", list(Verb))
    @pytest.mark.parametrize(
        "written",
        [
            "/stager {}",
            "/STAGER {}",
            "  /stager {}",
            "\n\n/stager {}\n",
            "/stager   {}  ",
            "/stager\t{}",
            "/stager {}\r\nthanks!",
            "/stager {}\rthanks!",
            "\n   /stager {}",
            "/stager {} please",
        ],
    )
    def test_however_it_is_written(self, verb: Verb, written: str) -> None:
        assert parse_command(written.format(verb.value)) == CommentCommand(verb, verb.value)
        assert parse_command(written.format(verb.value.upper())) == CommentCommand(verb, verb.value)

    @pytest.mark.parametrize("word", list(ALIASES))
    def test_aliases(self, word: str) -> None:
        assert parse_command(f"/stager {word}") == CommentCommand(ALIASES[word], word)

    def test_no_alias_hides_a_verb(self) -> None:
        assert not ALIASES.keys() & {verb.value for verb in Verb}

    @pytest.mark.parametrize("text", ["/stager", " /stager \n", "/stager\r\nlaunch"])
    def test_alone_it_is_the_help_command(self, text: str) -> None:
        assert parse_command(text) == CommentCommand(Verb.HELP, "help")

    def test_each_is_explained(self) -> None:
        assert set(ABOUT) == set(Verb)
        assert all(ABOUT.values())


class TestNotForUs:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            " \n\t ",
            "stager launch",
            "/stagerlaunch",
            "/stager: launch",
            "/stager-launch",
            "//stager launch",
            "> /stager launch",
            ">/stager launch",
            "`/stager launch`",
            "```\n/stager launch\n```",
            "please /stager launch",
            "Thanks!\n/stager launch",
            "@stager launch",
            "/ stager launch",
            "- /stager kill",
            "    /stager kill",
            "\t/stager kill",
            "\n  \t/stager kill",
        ],
    )
    def test_is_left_alone(self, text: str) -> None:
        assert parse_command(text) is None

    def test_what_follows_the_first_line_is_ignored(self) -> None:
        assert parse_command("/stager logs\n/stager kill") == CommentCommand(Verb.LOGS, "logs")


class TestNotUnderstood:
    @pytest.mark.parametrize(
        ("word", "hint"),
        [
            ("lunch", 'did you mean "launch"?'),
            ("aprove", 'did you mean "approve"?'),
            ("log", 'did you mean "logs"?'),
            ("redeplyo", 'did you mean "redeploy"?'),
            ("dance", ""),
            ("--force", ""),
        ],
    )
    def test_what_was_meant_perhaps(self, word: str, hint: str) -> None:
        speech = parse_command(f"{PREFIX} {word}")

        assert speech == CommentCommand(None, word)
        assert speech is not None
        assert speech.hint == hint

    def test_an_oversized_word_is_cut(self) -> None:
        speech = parse_command(f"{PREFIX} {'x' * 10_000}")

        assert speech == CommentCommand(None, "x" * LONGEST_WORD)

    def test_a_verb_that_only_begins_a_word_isnt_one(self) -> None:
        assert parse_command(f"{PREFIX} killall") == CommentCommand(None, "killall")
        assert parse_command(f"{PREFIX} kill,") == CommentCommand(None, "kill,")


@given(st.text() | st.text().map(f"{PREFIX} ".__add__))
def test_any_text_is_a_command_or_not(text: str) -> None:
    speech = parse_command(text)

    assert speech is None or isinstance(speech.verb, Verb | None)
    if speech is not None:
        assert text.split(maxsplit=1)[0].lower() == PREFIX
        assert len(speech.word) <= LONGEST_WORD
        assert "\n" not in speech.word
        assert isinstance(speech.hint, str)
