"""Any comment: only its own first line is a command, never what it quotes or shows as an example; and the
webhook's reader and the parser of commands agree."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from stager.domain.pull_requests.comment_command import ALIASES, LONGEST_WORD, PREFIX, Verb, parse_command
from stager.domain.pull_requests.events import CommentAdded, Delivery, Ignored
from stager.forges.github.webhooks.events import LONGEST_COMMAND, GithubWebhooks
from tests.doubles.github import GithubComment, GithubDouble
from tests.fuzz.junk import damaged
from tests.length import length

GITHUB = GithubDouble()
PULL = GITHUB.open_pull(GITHUB.add_repository("acme", "shop"), "x")
WEBHOOKS = GithubWebhooks("secret")

COMMANDS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from([PREFIX, "/STAGER", "/Stager"]),
    st.sampled_from([" ", "  ", "\t"]),
    st.sampled_from([*Verb, *ALIASES]),
    st.sampled_from(["", " please", " 1a2b3c4", "\t1a2b3c4 ", "\r\nthanks!", "\n> /stager kill"]),
)
"""What asks for something when it is all that a comment says."""
FRAMES = st.sampled_from(
    [
        "> {}",
        ">{}",
        "> > {}",
        "```\n{}\n```",
        "~~~ sh\n{}\n~~~",
        "`{}`",
        "    {}",
        "\t{}",
        "  \t{}",
        "\n\n    {}",
        "<!-- {} -->",
        "<!--\n{}\n-->",
        "<pre>\n{}\n</pre>",
        "- {}",
        "1. {}",
        "# {}",
        "**{}**",
        "see {}",
        "see:\n\n{}",
        "\\{}",
        "\u200b{}",
        "\ufeff{}",
        "@{}",
        '"{}"',
    ]
)
"""In these it is quoted, shown, hidden, or in the middle of something else."""
SCRAPS = st.sampled_from([*"/\r\n\t >`<!-\0\ud800\u2028\xa0İ", "stager", "/stager", "kill"])
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(max_size=40).map(f"{PREFIX} ".__add__),
    st.lists(SCRAPS, max_size=8).map("".join),
    damaged(COMMANDS.map(str.encode)).map(lambda data: data.decode("utf-8", "surrogateescape")),
)  # fmt: skip


def event_of(body: str) -> CommentAdded | Ignored:
    """What becomes of a comment in a delivery."""
    payload = GITHUB.comment_event("created", PULL, GithubComment(1, "octocat", body))
    event = WEBHOOKS.read(Delivery("1", "github", "issue_comment", json.dumps(payload)))
    assert isinstance(event, CommentAdded | Ignored)
    return event


@length(200)
@given(COMMANDS, st.sampled_from(["", " ", "   ", "\n", "\r\n \n"]))
def test_a_command_is_recognised_by_all_steps(command: str, before: str) -> None:
    event = event_of(before + command)
    assert isinstance(event, CommentAdded), event
    speech = parse_command(event.text)
    assert speech is not None
    word = command.split()[1]
    assert speech.word == word
    assert speech.verb == ALIASES.get(word, word)


@length(200)
@given(COMMANDS, FRAMES)
def test_quoted_commands_have_no_effect(command: str, frame: str) -> None:
    shown = frame.format(command)
    assert parse_command(shown) is None
    assert isinstance(event_of(shown), Ignored)


@length(300)
@given(TEXTS)
def test_any_text_is_recognised_by_all_steps_or_none(text: str) -> None:
    event, speech = event_of(text), parse_command(text)
    assert isinstance(event, CommentAdded) is (speech is not None)
    if speech is None or not isinstance(event, CommentAdded):
        return
    first = re.split(r"[\r\n]", text.lstrip())[0]
    assert first.lower().startswith(PREFIX)
    assert len(event.text) <= LONGEST_COMMAND
    assert len(speech.word) <= LONGEST_WORD
    assert speech.word in {Verb.HELP, *(word[:LONGEST_WORD] for word in first.lower().split())}
    again = parse_command(event.text)
    assert again is not None
    assert again.verb == speech.verb
    assert isinstance(speech.hint, str)
