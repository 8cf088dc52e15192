"""The names that a manual launch accepts: branches, tags and full commit ids, and no other git refs.

Forges keep untrusted commits in the repository itself, outside of branches and tags: `refs/pull/7/head` on
GitHub, `refs/merge-requests/7/head` on GitLab, `refs/pull-requests/7/from` on Bitbucket and
`refs/changes/07/7/1` in Gerrit. git resolves shorter names, too: `refs/` may be left out (gitrevisions(7)).
A manual launch is trusted, so it must not use any of these names. The name also reaches the boot scripts of
prebuilt images. They pass it to `git fetch`, where it may be a refspec or several words.
"""

from __future__ import annotations

import re

from stager.domain.source import is_commit_id

BRANCHES, TAGS = "refs/heads/", "refs/tags/"

_WORDS = re.compile(r"[\s:]+")
"""What separates the words of a shell, and the two halves of a refspec (git-fetch(1))."""

_UNTRUSTED = re.compile(
    r"(pulls?|pull-requests?|merge[-_]requests?|changes|pipelines)/+\d+(/.*)?|(remotes|keep-around|__gh__)/.*"
)
"""Where forges keep commits that aren't in a branch or a tag."""

_PSEUDO = re.compile(r"@|([A-Z]+_)?HEAD")
"""`HEAD`, `FETCH_HEAD` and the like (gitrevisions(7)): their meaning depends on the clone."""


def named_outside(name: str) -> str:
    """The part of a name that isn't a branch or a tag; empty if there is none.

    Args:
        name: as entered; may contain spaces, as names of previews of prebuilt images do.
    """
    words = (word.lstrip("+^") for word in _WORDS.split(name))
    return next((word for word in words if _is_outside(word)), "")


def ids_in(name: str) -> str:
    """The first full commit id in a name; empty for none."""
    words = (word.lstrip("+^") for word in _WORDS.split(name))
    return next((word for word in words if is_commit_id(word.lower())), "")


def full_names(name: str) -> tuple[str, ...]:
    """The full refs that a name may stand for, in order of preference: the branch, then the tag."""
    if name.startswith((BRANCHES, TAGS)):
        return (name,)
    return (f"{BRANCHES}{name}", f"{TAGS}{name}")


def _is_outside(word: str) -> bool:
    if word.startswith((BRANCHES, TAGS)):
        return ".." in word
    plain = word.lower()
    return plain.startswith("refs/") or bool(_UNTRUSTED.fullmatch(plain) or _PSEUDO.fullmatch(word))
