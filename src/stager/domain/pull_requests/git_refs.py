"""Which names a launch by hand may give: branches, tags, whole commit ids, and nothing else that git knows.

Forges keep strangers' commits in the repository itself, outside of branches and tags: `refs/pull/7/head` on
GitHub, `refs/merge-requests/7/head` on GitLab, `refs/pull-requests/7/from` on Bitbucket and
`refs/changes/07/7/1` in Gerrit. git finds them by shorter names, too: `refs/` may be left out
(gitrevisions(7)). A launch by hand is trusted, so none of these may be its name. The name also reaches the
boot scripts of prebuilt images. They hand it to `git fetch`, where it may be a refspec or several words.
"""

from __future__ import annotations

import re

from stager.domain.source import is_commit_id

BRANCHES, TAGS = "refs/heads/", "refs/tags/"

_WORDS = re.compile(r"[\s:]+")
"""What separates the words of a shell, and the two halves of a refspec (git-fetch(1))."""

_STRANGERS = re.compile(
    r"(pulls?|pull-requests?|merge[-_]requests?|changes|pipelines)/+\d+(/.*)?|(remotes|keep-around|__gh__)/.*"
)
"""Where forges keep what isn't in a branch or a tag."""

_PSEUDO = re.compile(r"@|([A-Z]+_)?HEAD")
"""`HEAD`, `FETCH_HEAD` and the like (gitrevisions(7)): what they mean depends on who asks."""


def named_outside(name: str) -> str:
    """The part of a name that means something other than a branch or a tag; empty where all is well.

    Args:
        name: as a person gave it; it may have spaces, as names of prebuilt images' previews do.
    """
    words = (word.lstrip("+^") for word in _WORDS.split(name))
    return next((word for word in words if _is_outside(word)), "")


def ids_in(name: str) -> str:
    """The first whole commit id in a name; empty for none."""
    words = (word.lstrip("+^") for word in _WORDS.split(name))
    return next((word for word in words if is_commit_id(word.lower())), "")


def full_names(name: str) -> tuple[str, ...]:
    """The full names of what a name may mean, best first: the branch, then the tag."""
    if name.startswith((BRANCHES, TAGS)):
        return (name,)
    return (f"{BRANCHES}{name}", f"{TAGS}{name}")


def _is_outside(word: str) -> bool:
    if word.startswith((BRANCHES, TAGS)):
        return ".." in word
    plain = word.lower()
    return plain.startswith("refs/") or bool(_STRANGERS.fullmatch(plain) or _PSEUDO.fullmatch(word))
