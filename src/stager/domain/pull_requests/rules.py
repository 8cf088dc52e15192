"""Which pull requests get a preview, by the configuration's rules and, for forks, by approvals of single
commits; with a reason for each refusal."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from stager.domain.environment import Environment, Suspension, SuspensionReason
from stager.domain.errors import Refused
from stager.domain.source import Change, is_commit_id

SKIP = re.compile(r"\[(?:skip|no) preview\]|\[preview skip\]", re.IGNORECASE)
"""In a title or a description: the author doesn't want a preview."""

FORKS_ARE_OFF = Suspension(
    SuspensionReason.FORK,
    "No preview: this pull request comes from a fork, and previews of forks are off.",
    "Someone with push access can push the branch to this repository.",
)


class TitlePattern(Protocol):
    """A regular expression that matches in linear time: titles are untrusted input."""

    @property
    def text(self) -> str:
        """The expression as configured."""

    def is_in(self, text: str) -> bool:
        """Whether `text` contains a match."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Conditions for a preview. Empty conditions don't apply.

    Args:
        labels: it has one of these labels.
        without_labels: it has none of these labels.
        title: its title matches.
        without_title: its title doesn't match.
        paths: shell patterns; one of its changed files matches one of them. `*` matches `/`, too.
        authors: its author is one of these. GitHub's logins are case-insensitive.
        bases: shell patterns; its base branch matches one of them.
        drafts: whether drafts get a preview.
        bots: whether pull requests of bots get a preview.
        wait_for_checks: whether its commit's checks must pass first.
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
    """Why this change gets no preview, by its own fields; None when every rule allows it."""
    for rule, reason, hint in _failed_rules(rules, change):
        if reason:
            return Suspension(SuspensionReason.RULES, f"No preview: {reason}.", hint, rule=rule)
    return None


def refusal_by_paths(rules: Rules, paths: Sequence[str]) -> Suspension | None:
    """Why a change of these files gets no preview; None when it does."""
    if not rules.paths or any(
        fnmatch.fnmatchcase(path, pattern) for path in paths for pattern in rules.paths
    ):
        return None
    wanted = _listed(rules.paths)
    return Suspension(
        SuspensionReason.RULES,
        f"No preview: this pull request changes no file that matches {wanted}.",
        rule="paths",
    )


def _failed_rules(rules: Rules, change: Change) -> Sequence[tuple[str, str, str]]:
    """The rules in the order of their importance, each with its slug, the reason against a preview, and a
    hint; the reason is empty for a rule that allows it."""
    return (
        ("opted-out", _skipped(change), "Remove it from the title and the description to get a preview."),
        ("bot", _by_bot(rules, change), "`pull_requests.bots: true` in the configuration allows them."),
        (
            "author",
            _by_author(rules, change),
            "`pull_requests.authors` in the configuration lists the authors.",
        ),
        ("base-branch", _by_base(rules, change), ""),
        ("draft", _by_draft(rules, change), "Mark it as ready for review to get a preview."),
        ("label-missing", _by_labels(rules, change), "Add the label to get a preview."),
        ("label-forbidden", _by_forbidden_labels(rules, change), "Remove the label to get a preview."),
        ("title-mismatch", _by_title(rules, change), ""),
        ("title-forbidden", _by_forbidden_title(rules, change), "Change the title to get a preview."),
    )


def _skipped(change: Change) -> str:
    found = SKIP.search(change.title) or SKIP.search(change.description)
    return f"its author opted out with `{found[0]}`" if found else ""


def _by_bot(rules: Rules, change: Change) -> str:
    return "a bot opened this pull request" if change.author_is_bot and not rules.bots else ""


def _by_author(rules: Rules, change: Change) -> str:
    is_listed = not rules.authors or change.author.lower() in {author.lower() for author in rules.authors}
    return "" if is_listed else "its author isn't on the list of authors whose pull requests get one"


def _by_base(rules: Rules, change: Change) -> str:
    matches = not rules.bases or any(fnmatch.fnmatchcase(change.base_ref, p) for p in rules.bases)
    return "" if matches else f"only pull requests into {_listed(rules.bases)} get one"


def _by_draft(rules: Rules, change: Change) -> str:
    return "this is a draft" if change.draft and not rules.drafts else ""


def _by_labels(rules: Rules, change: Change) -> str:
    is_missing = rules.labels and not _folded(rules.labels) & _folded(change.labels)
    return f"it doesn't have the label {_listed(rules.labels)}" if is_missing else ""


def _by_forbidden_labels(rules: Rules, change: Change) -> str:
    found = [label for label in change.labels if label.lower() in _folded(rules.without_labels)]
    return f"it has the label {_listed(found[:1])}" if found else ""


def _by_title(rules: Rules, change: Change) -> str:
    matches = rules.title is None or rules.title.is_in(change.title)
    return "" if rules.title is None or matches else f"its title doesn't match `{rules.title.text}`"


def _by_forbidden_title(rules: Rules, change: Change) -> str:
    pattern = rules.without_title
    return f"its title matches `{pattern.text}`" if pattern and pattern.is_in(change.title) else ""


def _folded(labels: Collection[str]) -> set[str]:
    return {label.lower() for label in labels}


def _listed(words: Sequence[str]) -> str:
    return " or ".join(f'"{word}"' for word in words)


def check_approval(sha: str, head: str) -> None:
    """Refuse an approval that doesn't name exactly the commit that would run.

    Args:
        sha: the commit id in the approval, in lower case.
        head: the id of the commit that would run; empty for none.

    Raises:
        Refused: `commit-incomplete` for anything but a full id, `commit-outdated` for another commit.
    """
    pending = f"The commit that is waiting for approval is {head}." if head else "No commit is waiting."
    if not is_commit_id(sha):
        raise Refused(
            f'"{sha[:64]}" isn\'t a full commit id (40 or 64 hex digits). {pending}',
            hint="Compare it with the commit that you have read, then copy the full id: many commits can "
            "share its first digits.",
            reason="commit-incomplete",
        )
    if sha != head:
        raise Refused(
            f"{sha} isn't the commit that is waiting for approval. {pending}",
            hint="Read that commit, then approve it by its full id.",
            reason="commit-outdated",
            status=409,
        )


def is_approved(environment: Environment | None, change: Change) -> bool:
    """Whether somebody with push access allowed the head commit of this change to run."""
    return (
        environment is not None
        and environment.approved_sha != ""
        and environment.approved_sha == change.head_sha
    )
