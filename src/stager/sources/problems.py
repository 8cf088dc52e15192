"""Puts what git says into endings. The credentials are taken out of all of it: a server can say anything
back."""

from __future__ import annotations

import base64
import re

from stager.domain.errors import Fault, Retry, StagerError
from stager.git import Done
from stager.ports.source import Origin

LONGEST_DETAIL = 2000
"""Characters of git's own words that are passed on."""

_REFUSED = re.compile(
    r"returned error: (401|403)|HTTP (401|403)|Authentication failed|could not read (Username|Password)"
    r"|terminal prompts disabled|Permission denied|Access denied|invalid credentials",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"returned error: (404|410)|repository '.*' not found|Repository not found|does not appear to be a git"
    r"|not a git repository|does not exist|No such file or directory"
)
_MOVED = re.compile(r"returned error: 30\d|unable to update url base from redirection", re.IGNORECASE)
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
NO_COMMIT = re.compile(
    r"not our ref|unadvertised object|couldn't find remote ref|no such remote ref|bad object"
)
_AWAY = re.compile(
    r"Could not resolve|Failed to connect|Couldn't connect|Connection (refused|reset|timed out)|timed out"
    r"|returned error: (429|5\d\d)|HTTP (429|5\d\d)|early EOF|unexpected disconnect|hung up unexpectedly"
    r"|RPC failed|Empty reply|SSL|TLS|certificate|transfer closed|Operation too slow|Recv failure"
    r"|Send failure|protocol error|invalid server response|error in the HTTP2 framing",
    re.IGNORECASE,
)


def ending_of(done: Done, origin: Origin) -> StagerError:
    """What a failed conversation with a repository amounts to."""
    said, where = detail_of(done.errors, origin), origin.url
    if _FULL.search(said):
        return Fault(
            "There is no room left on the disk for the repository.",
            hint="Make room where `state_dir` lies.",
            reason="source-disk-full",
            detail=said,
        )
    if _REFUSED.search(said):
        return Fault(
            f"{where} refuses {'the credentials' if origin.authorization else 'access without credentials'}.",
            hint="Are the credentials for the forge right, and may they read this repository?",
            reason="source-refused",
            detail=said,
        )
    if _MOVED.search(said):
        return Fault(
            f"{where} sends git on to another address, to which credentials aren't taken.",
            hint="The repository was probably renamed. Its next push tells its new name.",
            reason="source-refused",
            detail=said,
        )
    if _MISSING.search(said):
        return Fault(
            f"There is no repository at {where}, or none that may be seen from here.",
            hint="Forges answer so, too, when the credentials may not read a private repository.",
            reason="repository-missing",
            detail=said,
        )
    if _AWAY.search(said):
        return Retry(f"{where} doesn't answer git as it should.", reason="source-away", detail=said)
    return Fault(
        f"git couldn't fetch from {where} (exit code {done.code}).",
        hint="Its own words tell more.",
        reason="source-failed",
        detail=said,
    )


def no_commit(origin: Origin, sha: str) -> Fault:
    return Fault(
        f"There is no commit {sha[:64]} in {origin.url}.",
        hint="Was it replaced by a forced push? The next push brings one that is there.",
        reason="commit-missing",
    )


def no_ref(origin: Origin, ref: str) -> Fault:
    return Fault(
        f"There is no branch or tag {ref[:200]} in {origin.url}.",
        hint="Is the name right, and was it pushed?",
        reason="ref-missing",
    )


def no_tip(origin: Origin, sha: str) -> Fault:
    return Fault(
        f"No branch and no tag of {origin.url} points to commit {sha}.",
        hint="A launch by hand runs a branch or a tag. A pull request has a preview of its own.",
        reason="commit-not-a-tip",
    )


def detail_of(words: str, origin: Origin) -> str:
    """The end of git's words, printable, without the credentials, whole or in part."""
    for secret in _secrets(origin.authorization):
        words = words.replace(secret, "***")
    lines = ("".join(c if c.isprintable() else " " for c in line).strip() for line in words.splitlines())
    return "\n".join(filter(None, lines))[-LONGEST_DETAIL:]


def _secrets(authorization: str) -> list[str]:
    """In what forms the credentials could be said: as they are sent, the token, the password within."""
    _, _, token = authorization.partition(" ")
    found = [authorization, token]
    try:
        user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        found += [f"{user}:{password}", password]
    except ValueError:
        pass
    return sorted(filter(None, found), key=len, reverse=True)
