"""Reads GitHub's JSON, as deliveries and REST answers bear it, into the words of the domain.

Tolerant on purpose: only what Stager needs is read, and everything else may be missing, new or of another
age or edition of GitHub. What is needed is checked, because shas and refs reach environments and pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from stager.domain.source import Change, Repository

GHOST = "ghost"
"""GitHub's own name for an account that was deleted; its JSON has null in that place."""

LONGEST_DESCRIPTION = 20_000
"""Characters. GitHub takes 65,536; what is meant for us stands further up."""

MOST_LABELS = 100
"""GitHub's own limit for one pull request."""


class Unreadable(ValueError):  # noqa: N818 (said of what was read)
    """JSON that isn't what it should be.

    Args:
        path: where, such as `pull_request.head.sha`; empty for the whole.
        problem: what is wrong there.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path


@dataclass(frozen=True, slots=True)
class PullRequestEvent:
    """A `pull_request` delivery, whatever its action."""

    action: str
    change: Change


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment in a pull request's conversation."""

    id: str
    author: str
    body: str
    by_bot: bool = False


@dataclass(frozen=True, slots=True)
class CommentEvent:
    """An `issue_comment` delivery, whatever its action.

    Args:
        number: of the issue or pull request.
        on_pull_request: whether it is one.
    """

    action: str
    repository: Repository
    number: int
    on_pull_request: bool
    comment: Comment


@dataclass(frozen=True, slots=True)
class CheckEvent:
    """A delivery about one of a commit's checks or statuses.

    Args:
        ended: whether it has come to its end.
        context: the status's name; empty for checks.
    """

    repository: Repository
    sha: str
    ended: bool
    context: str = ""


def read_event(payload: object) -> PullRequestEvent:
    """The payload of a `pull_request` delivery. Raises `Unreadable`."""
    event = _parse(_Event, payload)
    return PullRequestEvent(event.action, event.pull_request.change(event.before or ""))


def read_comment_event(payload: object) -> CommentEvent:
    """The payload of an `issue_comment` delivery. Raises `Unreadable`."""
    event = _parse(_CommentEvent, payload)
    issue = event.issue
    return CommentEvent(
        event.action,
        event.repository.repository(),
        issue.number,
        issue.pull_request is not None,
        event.comment.comment(),
    )


def read_check_event(payload: object) -> CheckEvent:
    """The payload of a `check_suite`, `check_run` or `status` delivery. Raises `Unreadable`."""
    event = _parse(_CheckEvent, payload)
    check = event.check_suite or event.check_run
    repository = event.repository.repository()
    if check is not None:
        return CheckEvent(repository, check.head_sha, event.action == "completed")
    if event.sha is None:
        raise Unreadable("sha", "is missing")
    return CheckEvent(repository, event.sha, event.state != "pending", event.context)


def read_change(pull: object) -> Change:
    """A pull request of the REST API. Raises `Unreadable`."""
    return _parse(_Pull, pull).change()


def read_repository(repository: object) -> Repository:
    """A repository, of either. Raises `Unreadable`."""
    return _parse(_Repository, repository).repository()


def read_comment(comment: object) -> Comment:
    """An issue's comment. Raises `Unreadable`."""
    return _parse(_Comment, comment).comment()


def read_login(account: object) -> str:
    """The login of an account. Raises `Unreadable`."""
    return _parse(_Account, account).login


def slim(pulls: Sequence[object]) -> list[object]:
    """Pull requests of the REST API less all that isn't read here: a twentieth of their size, to be kept.

    Raises `Unreadable`.
    """
    return [_parse(_Pull, pull).model_dump() for pull in pulls]


def _text(value: object) -> str:
    """Any text for people, as something that can be stored: JSON can hold NUL and half a surrogate pair."""
    text = value if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def _description(value: object) -> str:
    return _text(value)[:LONGEST_DESCRIPTION]


def _names(value: object) -> list[str]:
    """Of labels, as GitHub sends them or as `slim` left them."""
    labels = value if isinstance(value, list) else []
    names = [label.get("name") if isinstance(label, dict) else label for label in labels]
    return [_text(name) for name in names if isinstance(name, str) and name][:MOST_LABELS]


def _is_true(value: object) -> bool:
    return value is True


def _with_time_zone(stamp: datetime) -> datetime:
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)


Text = Annotated[str, BeforeValidator(_text)]
Description = Annotated[str, BeforeValidator(_description)]
Labels = Annotated[list[str], BeforeValidator(_names)]
Flag = Annotated[bool, BeforeValidator(_is_true)]
Sha = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
Ref = Annotated[str, Field(pattern=r"^[^\x00-\x20\x7f]+$")]
"""All that git allows passes: a stranger's branch must not make a list of pull requests unreadable."""
Link = Annotated[str, Field(pattern=r"^https?://[^\x00-\x20]+$")]
Stamp = Annotated[datetime, AfterValidator(_with_time_zone)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Account(_Wire):
    login: str
    type: Text = ""


class _Repository(_Wire):
    id: int
    name: str
    owner: _Account

    def repository(self) -> Repository:
        return Repository(str(self.id), self.owner.login, self.name)


class _Head(_Wire):
    ref: Ref
    sha: Sha
    repo: _Repository | None = None
    """Null once the fork was deleted."""


class _Base(_Wire):
    ref: Ref
    repo: _Repository


class _Pull(_Wire):
    number: Annotated[int, Field(gt=0)]
    state: Literal["open", "closed"]
    title: Text = ""
    body: Description = ""
    labels: Labels = []
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


class _Event(_Wire):
    action: str
    pull_request: _Pull
    before: Sha | None = None
    """Only with `synchronize`."""


class _Comment(_Wire):
    id: int
    body: Text = ""
    user: _Account | None = None

    def comment(self) -> Comment:
        return Comment(str(self.id), _login(self.user), self.body, _is_bot(self.user))


class _Issue(_Wire):
    number: Annotated[int, Field(gt=0)]
    pull_request: dict[str, object] | None = None
    """Only of a pull request."""


class _CommentEvent(_Wire):
    action: str
    issue: _Issue
    comment: _Comment
    repository: _Repository


class _Check(_Wire):
    head_sha: Sha


class _CheckEvent(_Wire):
    """One of three kinds, told by what it bears: `check_suite`, `check_run`, or a status's `sha`."""

    repository: _Repository
    action: Text = ""
    check_suite: _Check | None = None
    check_run: _Check | None = None
    sha: Sha | None = None
    state: Text = ""
    context: Text = ""


def _is_bot(account: _Account | None) -> bool:
    return account is not None and account.type == "Bot"


def _login(account: _Account | None) -> str:
    return account.login if account else GHOST


Model = TypeVar("Model", bound=_Wire)


def _parse(model: type[Model], value: Any) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise Unreadable(".".join(map(str, first["loc"])), first["msg"]) from None
