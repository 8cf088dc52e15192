"""What people say to Stager in a pull request's comments: `/stager launch`, and so on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from stager.domain.names import did_you_mean

ADDRESS = "/stager"
LONGEST_WORD = 40

_LINE_END = re.compile(r"\r\n?|\n")
_SHOWN = re.compile(r" {4}| {0,3}\t")
"""How a line begins that Markdown shows as code (CommonMark, section 4.4)."""


class Verb(StrEnum):
    """What may be asked for."""

    LAUNCH = "launch"
    REDEPLOY = "redeploy"
    KILL = "kill"
    LOGS = "logs"
    PIN = "pin"
    EXTEND = "extend"
    APPROVE = "approve"
    HELP = "help"


ABOUT = {
    Verb.LAUNCH: "have a preview, also after it was stopped",
    Verb.REDEPLOY: "start it afresh from the same commit",
    Verb.KILL: "stop it until the next push",
    Verb.LOGS: "show the last lines of its log here",
    Verb.PIN: "keep it when room is made for others",
    Verb.EXTEND: "count as the newest when room is made",
    Verb.APPROVE: "let this very commit from a fork run",
    Verb.HELP: "show this list here",
}
"""Each verb with what it does, as people are told."""

ALIASES = {"deploy": Verb.LAUNCH, "start": Verb.LAUNCH, "restart": Verb.REDEPLOY, "stop": Verb.KILL}


@dataclass(frozen=True, slots=True)
class CommentCommand:
    """One thing that was asked for.

    Args:
        verb: None when nothing that we know was asked for.
        said: the word that stands there.
    """

    verb: Verb | None
    said: str = ""

    @property
    def hint(self) -> str:
        """What was meant, perhaps."""
        return did_you_mean(self.said, list(Verb))


def heard(text: str) -> CommentCommand | None:
    """What a comment asks for; None when it isn't addressed to Stager.

    Only its first line counts, and only when it begins with `/stager`: what is quoted in a reply, or shown as
    an example, asks for nothing.
    """
    line = first_line(text)
    words = line.split()
    if not words or words[0].lower() != ADDRESS or _SHOWN.match(line):
        return None
    word = words[1].lower()[:LONGEST_WORD] if len(words) > 1 else Verb.HELP.value
    if word in ALIASES:
        return CommentCommand(ALIASES[word], word)
    return CommentCommand(Verb(word) if word in set(Verb) else None, word)


def first_line(text: str) -> str:
    """The first line of a comment that isn't blank; lines end as in CommonMark, section 2.1."""
    return next((line for line in _LINE_END.split(text) if line.strip()), "")
