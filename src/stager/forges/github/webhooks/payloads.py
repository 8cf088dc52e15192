"""Parsers for GitHub's JSON in deliveries and REST responses, to domain types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from stager.domain.source import Change, Repository, repository_id
from stager.forges.github.webhooks.wire import (
    Link,
    Number,
    Ref,
    Sha,
    Stamp,
    Text,
    Unreadable,
    Wire,
    parse,
    text_of,
)

FORGE = "github"
"""The name of this forge; the ids of its repositories begin with it."""

GHOST = "ghost"
"""GitHub's name for a deleted account, which is null in its JSON."""

LONGEST_DESCRIPTION = 20_000
"""Characters that are read. GitHub allows 65,536; markers for Stager are expected near the beginning."""

MOST_LABELS = 100
"""GitHub's limit for a pull request."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment in a pull request's conversation."""

    id: str
    author: str
    body: str
    by_bot: bool = False
    created_at: datetime | None = None


def read_change(pull: object) -> Change:
    """A pull request of the REST API. Raises `Unreadable`."""
    return parse(_Pull, pull).change()


def read_repository(repository: object) -> Repository:
    """A repository, of either. Raises `Unreadable`."""
    return parse(_Repository, repository).repository()


def read_comment(comment: object) -> Comment:
    """An issue's comment. Raises `Unreadable`."""
    return parse(_Comment, comment).comment()


def read_login(account: object) -> str:
    """The login of an account. Raises `Unreadable`."""
    return parse(_Account, account).login


def slim(pulls: Sequence[object]) -> list[object]:
    """Pull requests of the REST API less all that isn't read here: a twentieth of their size, to be kept.

    Raises `Unreadable`.
    """
    return [parse(_Pull, pull).model_dump() for pull in pulls]


def _description(value: object) -> str:
    return text_of(value)[:LONGEST_DESCRIPTION]


def _names(value: object) -> list[str]:
    """Of labels, as GitHub sends them or as `slim` left them."""
    labels = value if isinstance(value, list) else []
    names = [label.get("name") if isinstance(label, dict) else label for label in labels]
    return [text_of(name) for name in names if isinstance(name, str) and name][:MOST_LABELS]


def _is_true(value: object) -> bool:
    return value is True


Description = Annotated[str, BeforeValidator(_description)]
Labels = Annotated[list[str], BeforeValidator(_names)]
Flag = Annotated[bool, BeforeValidator(_is_true)]


class _Account(Wire):
    login: str
    type: Text = ""


class _Repository(Wire):
    id: int
    name: str
    owner: _Account

    def repository(self) -> Repository:
        return Repository(repository_id(FORGE, str(self.id)), self.owner.login, self.name)


class _Head(Wire):
    ref: Ref
    sha: Sha
    repo: _Repository | None = None
    """Null once the fork was deleted."""


class _Base(Wire):
    ref: Ref
    repo: _Repository


class _Pull(Wire):
    number: Number
    state: Literal["open", "closed"]
    title: Text = ""
    body: Description = ""
    labels: Labels = Field(default_factory=list)
    draft: Flag = False
    user: _Account | None = None
    html_url: Link
    updated_at: Stamp
    head: _Head
    base: _Base
    merged: bool | None = None
    merged_at: Stamp | None = None
    """Lists have only this one of the two."""

    def change(self, before: str = "") -> Change:
        head = self.head.repo
        return Change(
            repository=self.base.repo.repository(),
            number=self.number,
            is_open=self.state == "open",
            head_sha=self.head.sha,
            head_ref=self.head.ref,
            head_repository=head.repository() if head else None,
            base_ref=self.base.ref,
            title=self.title,
            author=_login(self.user),
            url=self.html_url,
            updated_at=self.updated_at,
            merged=bool(self.merged) or self.merged_at is not None,
            head_before=before,
            labels=tuple(self.labels),
            draft=self.draft,
            description=self.body,
            author_is_bot=_is_bot(self.user),
        )


class PullRequestPayload(Wire):
    """The payload of a `pull_request` delivery."""

    action: str
    pull_request: _Pull
    before: Sha | None = None
    """Only with `synchronize`."""

    def change(self) -> Change:
        return self.pull_request.change(self.before or "")


class _Comment(Wire):
    id: int
    body: Text = ""
    user: _Account | None = None
    created_at: Stamp | None = None

    def comment(self) -> Comment:
        return Comment(str(self.id), _login(self.user), self.body, _is_bot(self.user), self.created_at)


class _Issue(Wire):
    number: Number
    pull_request: dict[str, object] | None = None
    """Only of a pull request."""


class CommentPayload(Wire):
    """The payload of an `issue_comment` delivery."""

    action: str
    issue: _Issue
    comment: _Comment
    repository: _Repository


class _Check(Wire):
    head_sha: Sha


class CheckPayload(Wire):
    """The payload of a `check_suite`, `check_run` or `status` delivery. Each has one of these three fields:
    `check_suite`, `check_run`, `sha`."""

    repository: _Repository
    action: Text = ""
    check_suite: _Check | None = None
    check_run: _Check | None = None
    sha: Sha | None = None
    state: Text = ""
    context: Text = ""
    """The status's name; empty for checks."""

    @property
    def commit(self) -> str:
        """The commit's id. Raises `Unreadable`."""
        if self._check is not None:
            return self._check.head_sha
        if self.sha is None:
            raise Unreadable("sha", "is missing")
        return self.sha

    @property
    def is_completed(self) -> bool:
        return self.action == "completed" if self._check is not None else self.state != "pending"

    @property
    def _check(self) -> _Check | None:
        return self.check_suite or self.check_run


class MergeGroupPayload(Wire):
    """The payload of a `merge_group` delivery."""

    action: str
    merge_group: _Check
    """A commit, with other fields than a check's beside."""
    repository: _Repository


def _is_bot(account: _Account | None) -> bool:
    return account is not None and account.type == "Bot"


def _login(account: _Account | None) -> str:
    return account.login if account else GHOST
