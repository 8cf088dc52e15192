"""Commands in pull-request comments, such as `/stager launch`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from stager.domain.names import did_you_mean

PREFIX = "/stager"
LONGEST_WORD = 40

_LINE_END = re.compile(r"\r\n?|\n")
_CODE = re.compile(r" {4}| {0,3}\t")
"""The indentation of a code block (CommonMark, section 4.4)."""


class Verb(StrEnum):
    """The commands."""

    LAUNCH = "launch"
    REDEPLOY = "redeploy"
    RESET = "reset"
    ROLLBACK = "rollback"
    KILL = "kill"
    SLEEP = "sleep"
    WAKE = "wake"
    LOGS = "logs"
    PIN = "pin"
    EXTEND = "extend"
    APPROVE = "approve"
    HELP = "help"


ABOUT = {
    Verb.LAUNCH: "start the preview, also after it was stopped",
    Verb.REDEPLOY: "restart it from the same commit",
    Verb.RESET: "replace its data by the current snapshot, or by empty volumes",
    Verb.ROLLBACK: "launch the last good commit again, or the one that is named, without a build",
    Verb.KILL: "stop it until the next push",
    Verb.SLEEP: "put it to sleep until the next visit",
    Verb.WAKE: "wake it",
    Verb.LOGS: "show the last lines of its log",
    Verb.PIN: "never evict it in favour of another preview, and never let it expire",
    Verb.EXTEND: "count it as used now, so that it neither expires nor is evicted soon",
    Verb.APPROVE: "run this commit from a fork",
    Verb.HELP: "show this list",
}
"""The description of each command, as people see it."""

ALIASES = {"deploy": Verb.LAUNCH, "start": Verb.LAUNCH, "restart": Verb.REDEPLOY, "stop": Verb.KILL}


@dataclass(frozen=True, slots=True)
class CommentCommand:
    """A parsed command.

    Args:
        verb: None for an unknown command.
        word: the word after `/stager`, in lower case.
    """

    verb: Verb | None
    word: str = ""

    @property
    def hint(self) -> str:
        """A suggestion for an unknown command; may be empty."""
        return did_you_mean(self.word, list(Verb))


def parse_command(text: str) -> CommentCommand | None:
    """The command in a comment; None for any other comment.

    Only the first line counts, and only if it begins with `/stager`: quotes and examples aren't commands.
    """
    line = first_line(text)
    words = line.split()
    if not words or words[0].lower() != PREFIX or _CODE.match(line):
        return None
    word = words[1].lower()[:LONGEST_WORD] if len(words) > 1 else Verb.HELP.value
    if word in ALIASES:
        return CommentCommand(ALIASES[word], word)
    return CommentCommand(Verb(word) if word in set(Verb) else None, word)


def first_line(text: str) -> str:
    """The first line of a comment that isn't blank; lines end as in CommonMark, section 2.1."""
    return next((line for line in _LINE_END.split(text) if line.strip()), "")
