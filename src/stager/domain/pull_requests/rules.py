"""Which pull requests get a preview, as the configuration says; with a sentence for each no."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from stager.domain.environment import Suspension, SuspensionReason
from stager.domain.source import Change

SKIP = re.compile(r"\[(?:skip|no) preview\]|\[preview skip\]", re.IGNORECASE)
"""In a title or a description: its author wants no preview."""


class TitlePattern(Protocol):
    """A regular expression that is matched in linear time: anybody may write titles."""

    @property
    def text(self) -> str:
        """The expression as it was written."""

    def is_in(self, text: str) -> bool:
        """Whether some part of `text` matches."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a pull request must be like to get a preview. Whatever is empty isn't asked for.

    Args:
        labels: it bears one of these.
        without_labels: it bears none of these.
        title: what its title contains.
        without_title: what its title doesn't contain.
        paths: shell patterns, one of which a file that it touches fits; `*` matches `/` as well.
        authors: who may have opened it; GitHub's logins don't distinguish case.
        bases: shell patterns, one of which the branch that it is meant for fits.
        drafts: whether drafts get one.
        bots: whether those that programs open do.
        wait_for_checks: whether its commit's checks must have passed.
    """

    labels: tuple[str, ...] = ()
    without_labels: tuple[str, ...] = ()
    title: TitlePattern | None = None
    without_title: TitlePattern | None = None
    paths: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    drafts: bool = True
    bots: bool = False
    wait_for_checks: bool = False


def refusal(rules: Rules, change: Change) -> Suspension | None:
    """Why this change gets no preview by what it says of itself; None when nothing speaks against it."""
    for complaint, hint in _complaints(rules, change):
        if complaint:
            return Suspension(SuspensionReason.RULES, f"No preview: {complaint}.", hint)
    return None


def refusal_by_paths(rules: Rules, paths: Sequence[str]) -> Suspension | None:
    """Why a change that touches these files gets no preview."""
    if not rules.paths or any(
        fnmatch.fnmatchcase(path, pattern) for path in paths for pattern in rules.paths
    ):
        return None
    wanted = _listed(rules.paths)
    return Suspension(
        SuspensionReason.RULES, f"No preview: this pull request touches no file that fits {wanted}."
    )


def _complaints(rules: Rules, change: Change) -> Sequence[tuple[str, str]]:
    """What speaks against it, each with what its author can do; the weightiest first."""
    return (
        (_skipped(change), "Take it out of the title and the description, and the preview comes."),
        (_by_bot(rules, change), "`pull_requests.bots` in the configuration lets them."),
        (_by_author(rules, change), "`pull_requests.authors` in the configuration lists who gets one."),
        (_by_base(rules, change), ""),
        (_by_draft(rules, change), "It comes when the pull request is ready for review."),
        (_by_labels(rules, change), "It comes with the label."),
        (_by_forbidden_labels(rules, change), "It comes without the label."),
        (_by_title(rules, change), ""),
        (_by_forbidden_title(rules, change), "It comes when the title is another."),
    )


def _skipped(change: Change) -> str:
    found = SKIP.search(change.title) or SKIP.search(change.description)
    return f"its author asked for none, with `{found[0]}`" if found else ""


def _by_bot(rules: Rules, change: Change) -> str:
    return "a bot opened this pull request" if change.author_is_bot and not rules.bots else ""


def _by_author(rules: Rules, change: Change) -> str:
    listed = not rules.authors or change.author.lower() in {author.lower() for author in rules.authors}
    return "" if listed else "its author isn't among those whose pull requests get one"


def _by_base(rules: Rules, change: Change) -> str:
    fits = not rules.bases or any(fnmatch.fnmatchcase(change.base_ref, pattern) for pattern in rules.bases)
    return "" if fits else f"only pull requests for {_listed(rules.bases)} get one"


def _by_draft(rules: Rules, change: Change) -> str:
    return "this is a draft" if change.draft and not rules.drafts else ""


def _by_labels(rules: Rules, change: Change) -> str:
    missing = rules.labels and not _folded(rules.labels) & _folded(change.labels)
    return f"it doesn't bear the label {_listed(rules.labels)}" if missing else ""


def _by_forbidden_labels(rules: Rules, change: Change) -> str:
    borne = [label for label in change.labels if label.lower() in _folded(rules.without_labels)]
    return f"it bears the label {_listed(borne[:1])}" if borne else ""


def _by_title(rules: Rules, change: Change) -> str:
    fits = rules.title is None or rules.title.is_in(change.title)
    return "" if rules.title is None or fits else f"its title doesn't fit `{rules.title.text}`"


def _by_forbidden_title(rules: Rules, change: Change) -> str:
    pattern = rules.without_title
    return f"its title fits `{pattern.text}`" if pattern and pattern.is_in(change.title) else ""


def _folded(labels: Collection[str]) -> set[str]:
    return {label.lower() for label in labels}


def _listed(words: Sequence[str]) -> str:
    return " or ".join(f'"{word}"' for word in words)
