"""Translates git's error messages to `Fault` and `Retry`. Credentials are removed from them, because a server
can echo anything."""

from __future__ import annotations

import base64
import re

from stager.domain.errors import Fault, Retry, StagerError
from stager.git import Result
from stager.ports.source import Origin

LONGEST_DETAIL = 2000
"""Maximum number of characters of git's messages in an error's detail."""

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


def error_of(result: Result, origin: Origin) -> StagerError:
    """The error for a failed connection to a repository."""
    detail, url = detail_of(result.errors, origin), origin.url
    if _FULL.search(detail):
        return Fault(
            "The disk is full: the repository can't be fetched.",
            hint="Free some space on the disk of `state_dir`.",
            reason="source-disk-full",
            detail=detail,
        )
    if _REFUSED.search(detail):
        return Fault(
            f"{url} rejects {'the credentials' if origin.authorization else 'access without credentials'}.",
            hint="Check that the credentials for the forge are right and may read this repository.",
            reason="source-refused",
            detail=detail,
        )
    if _MOVED.search(detail):
        return Fault(
            f"{url} redirects git to another address, to which Stager doesn't send credentials.",
            hint="The repository was probably renamed; its next push tells Stager the new name.",
            reason="source-refused",
            detail=detail,
        )
    if _MISSING.search(detail):
        return Fault(
            f"There is no repository at {url}, or the credentials may not read it.",
            hint="Check the address, and that the credentials may read this repository if it is private.",
            reason="repository-missing",
            detail=detail,
        )
    if _AWAY.search(detail):
        return Retry(f"{url} doesn't answer git as it should.", reason="source-away", detail=detail)
    return Fault(
        f"git can't fetch from {url} (exit code {result.code}).",
        hint="See its messages.",
        reason="source-failed",
        detail=detail,
    )


def no_commit(origin: Origin, sha: str) -> Fault:
    return Fault(
        f"There is no commit {sha[:64]} in {origin.url}.",
        hint="It may have been replaced by a forced push; the next push brings an existing one.",
        reason="commit-missing",
    )


def no_ref(origin: Origin, ref: str) -> Fault:
    return Fault(
        f"There is no branch or tag {ref[:200]} in {origin.url}.",
        hint="Check the name, and whether it was pushed.",
        reason="ref-missing",
    )


def no_tip(origin: Origin, sha: str) -> Fault:
    return Fault(
        f"No branch and no tag of {origin.url} points to commit {sha}.",
        hint="A launch by name runs a branch or a tag; a pull request has its own preview.",
        reason="commit-not-a-tip",
    )


def detail_of(text: str, origin: Origin) -> str:
    """The end of git's messages, printable, without the credentials or parts of them."""
    for secret in _secrets(origin.authorization):
        text = text.replace(secret, "***")
    lines = ("".join(c if c.isprintable() else " " for c in line).strip() for line in text.splitlines())
    return "\n".join(filter(None, lines))[-LONGEST_DETAIL:]


def _secrets(authorization: str) -> list[str]:
    """The forms in which the credentials could appear: the header, the token, the password in it."""
    _, _, token = authorization.partition(" ")
    found = [authorization, token]
    try:
        user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        found += [f"{user}:{password}", password]
    except ValueError:
        pass
    return sorted(filter(None, found), key=len, reverse=True)
