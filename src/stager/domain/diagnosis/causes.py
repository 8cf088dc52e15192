"""Likely causes in the last lines that an application printed before it failed.

Only the last `MOST_LINES` lines are read, and of each the first `LONGEST_LINE` characters. Names begin at
the beginning of a word only, so hostile text costs little more than its length. Results are kept: lists of
previews ask for the same lines again and again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_LINES = 60
LONGEST_LINE = 500
_NAME = r"[A-Z][A-Z0-9_]{2,60}"
_FILE = r"(?<![\w@+./-])[\w@+./-]{1,200}"
"""Of a path. It begins at the beginning of a word only, so that each character is tried once."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A likely cause.

    Args:
        sentence: what happened, with the name of the file or setting.
        remedy: the change that mends it.
    """

    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """Texts of one cause; `{0}` in them is the first group of a pattern that isn't empty."""

    patterns: tuple[str, ...]
    sentence: str
    remedy: str


_SET_VARIABLE = (
    "Set `{0}` under `env` in the repository's `.stager.yml`; if it is a secret, under `secrets` of the "
    "application in Stager's configuration."
)
_RULES = (
    _Rule(
        (r"[Nn]o space left on device|ENOSPC|Disk quota exceeded|disk is full|database or disk is full",),
        "The disk is full: the application couldn't write a file.",
        "Raise `disk` of the application in Stager's configuration, or free space on the machine: "
        "`stager gc "
        "--dry-run` shows what could go.",
    ),
    _Rule(
        (
            r"JavaScript heap out of memory|Cannot allocate "
            r"memory|MemoryError|OutOfMemoryError|std::bad_alloc",
        ),
        "The application ran out of memory.",
        "Raise `memory` of the application in Stager's configuration, or let it use less.",
    ),
    _Rule(
        (
            rf"KeyError: ['\"]({_NAME})['\"]",
            rf"\b({_NAME})\b[^\n]{{0,60}}\b(?:is not set|isn't set|not set|is missing|is required|is "
            rf"undefined"
            r"|must be set|must be defined|not defined|not found in (?:the )?environment)\b",
            rf"(?:missing|required|undefined|unset|set "
            rf"(?:the|an?))[^\n]{{0,40}}\b(?:variables?|env|environment)\b"
            rf"[^\n]{{0,20}}?\b({_NAME})\b",
            rf"environment variables?[^\n]{{0,40}}?['\"` ]({_NAME})\b",
            rf"key not found: \"({_NAME})\"",
        ),
        "The environment variable `{0}` isn't set.",
        _SET_VARIABLE,
    ),
    _Rule(
        (
            r"exec ['\"]?([\w./-]{1,100})['\"]? failed: No such file",
            r"exec: \"([\w./-]{1,100})\": (?:executable file not found|stat)",
            r"(?:sh|bash)(?:: line \d+)?: (?:\d+: )?([\w./-]{1,100}): (?:command )?not found",
        ),
        "The program `{0}` isn't in the image.",
        "Install it in the Dockerfile, or correct the start command: its `CMD`, or `command` in "
        "the repository's `.stager.yml`.",
    ),
    _Rule(
        (
            r"(?:relation|table) [\"'`]?([\w.]{1,80})[\"'`]? (?:does not|doesn't) exist",
            r"no such table: ([\w.]{1,80})",
            r"Table '([\w.]{1,80})' doesn't exist",
        ),
        "The database has no table `{0}`: the migrations haven't run.",
        "Run them when the preview is launched: add their command to `hooks.after_launch` in the "
        "repository's "
        "`.stager.yml`, or to the application's start command.",
    ),
    _Rule(
        (
            r"(?:pending|unapplied) migration|Migrations are pending|PendingMigration"
            r"|database (?:schema )?is not up[- ]to[- ]date",
        ),
        "The database's migrations haven't run.",
        "Run them when the preview is launched: add their command to `hooks.after_launch` in the "
        "repository's "
        "`.stager.yml`, or to the application's start command.",
    ),
    _Rule(
        (
            r"(?:ModuleNotFoundError: No module named|ImportError: No module named) "
            r"['\"]?([\w.]{1,100})",
            r"(?:Cannot find (?:module|package)|Could not resolve) ['\"]([@\w./-]{1,200})['\"]",
            r"cannot load such file -- ([\w./-]{1,200})",
        ),
        "The module `{0}` isn't in the image.",
        "Add it to the dependencies that the Dockerfile installs, or copy its file into the image.",
    ),
    _Rule(
        (
            rf"FileNotFoundError: [^\n]{{0,80}}No such file or directory: ['\"]({_FILE})['\"]",
            rf"ENOENT: no such file or directory, \w{{1,12}} ['\"]({_FILE})['\"]",
            rf"(?:open|stat|read|can't open|cannot open|can't open file|cannot access) "
            rf"['\"]?({_FILE})['\"]?:"
            r" (?:\[Errno 2\] )?[Nn]o such file",
            rf"['\"]?({_FILE})['\"]?: [Nn]o such file or directory",
        ),
        "The file `{0}` isn't in the container.",
        "Copy `{0}` into the image (a `COPY` line of the Dockerfile; `.dockerignore` may exclude it), or "
        "correct "
        "its path.",
    ),
    _Rule(
        (
            rf"PermissionError: [^\n]{{0,60}}: ['\"]({_FILE})['\"]",
            rf"EACCES: permission denied, \w{{1,12}} ['\"]({_FILE})['\"]",
            rf"({_FILE}): [Pp]ermission denied",
        ),
        "The application may not use the file `{0}`.",
        "Give it to the user of the image (`RUN chown` or `COPY --chown` in the Dockerfile), or make it "
        "executable.",
    ),
    _Rule(
        (
            r"could not translate host name \"([\w.-]{1,100})\"",
            r"getaddrinfo (?:ENOTFOUND|EAI_AGAIN) ([\w.-]{1,100})",
            r"(?:Name or service not known|Temporary failure in name resolution|no such host)[^\n]{0,80}?"
            r"['\"( ]([\w-]{1,60}(?:\.[\w-]{1,60}){0,5})",
            r"lookup ([\w.-]{1,100})[^\n]{0,60}: no such host",
        ),
        "The host `{0}` is unknown in the preview.",
        "Name a service of the preview (`services` in `.stager.yml`; its name is its host), or a host "
        "that exists.",
    ),
    _Rule(
        (
            r"(?:ECONNREFUSED|[Cc]onnection refused)[^\n]{0,80}?((?:127\.0\.0\.1|localhost|::1)[: "
            r"]\d{2,5})",
            r"((?:127\.0\.0\.1|localhost|::1)(?::|, port )\d{2,5})[^\n]{0,80}?[Cc]onnection refused",
        ),
        "The application connects to `{0}`, where nothing listens: in a preview, each service has its "
        "own container.",
        "Use the service's name as host instead of `localhost`, such as `database`; declare it under "
        "`services` in "
        "`.stager.yml`.",
    ),
    _Rule(
        (r"EADDRINUSE|[Aa]ddress already in use",),
        "The application's port is in use in its own container: it is started twice.",
        "Start it once, in the foreground.",
    ),
    _Rule(
        (r"exec format error",),
        "A program in the image is built for another processor architecture.",
        "Build the image for this machine, or use a base image that is.",
    ),
    _Rule(
        (r"SyntaxError: ([^\n]{1,120})",),
        "The code has a syntax error: {0}.",
        "Correct the line that the log names, or use a base image with the version of the language that "
        "it needs.",
    ),
)
_COMPILED = tuple((tuple(map(re.compile, rule.patterns)), rule) for rule in _RULES)


def likely_cause(lines: Sequence[str]) -> Cause | None:
    """The likely cause that these lines show; None if there is none. The first rule in the table counts, and
    of its lines the last one.

    Args:
        lines: as on the screen, the oldest first.
    """
    return _cause_in(tuple(line[:LONGEST_LINE] for line in lines[-MOST_LINES:]))


@functools.lru_cache(maxsize=512)
def _cause_in(read: tuple[str, ...]) -> Cause | None:
    for patterns, rule in _COMPILED:
        for line in reversed(read):
            if found := next((match for each in patterns if (match := each.search(line))), None):
                name = next(filter(None, found.groups()), "")
                return Cause(rule.sentence.replace("{0}", name), rule.remedy.replace("{0}", name))
    return None
