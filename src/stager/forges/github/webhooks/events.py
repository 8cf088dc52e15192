"""GitHub's webhooks: verification of raw deliveries, and parsing of recorded ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qs

from stager.domain.errors import Refused
from stager.domain.pull_requests.comment_command import parse_command
from stager.domain.pull_requests.events import (
    AccessGranted,
    ChangeAction,
    ChangeEvent,
    ChecksCompleted,
    CommentAdded,
    Delivery,
    Event,
    Ignored,
    MergeQueued,
)
from stager.domain.source import Repository
from stager.forges.github.webhooks import payloads, signature, wire
from stager.forges.github.webhooks.payloads import (
    FORGE,
    CheckPayload,
    CommentPayload,
    MergeGroupPayload,
    PullRequestPayload,
)
from stager.forges.github.webhooks.signature import Digests
from stager.ports.forge import Signed, Webhooks

LARGEST_BODY = 25 * 1024 * 1024
"""Bytes. GitHub doesn't deliver more."""

LONGEST_HEADER = 100
"""Characters of a delivery's id or event name. GitHub's ids have 36."""

LONGEST_COMMAND = 2_000
"""Characters of a comment that are read."""

OWN_CONTEXT = "stager/"
"""Prefix of the contexts of Stager's own statuses, which are ignored."""

_EDITS = ("labeled", "unlabeled", "ready_for_review", "converted_to_draft")
_ACTIONS = {action.value: action for action in ChangeAction} | dict.fromkeys(_EDITS, ChangeAction.EDITED)
"""GitHub's `pull_request` actions with an effect. The others are about reviews, people and merging."""

_GRANTS = frozenset({"created", "unsuspend", "new_permissions_accepted", "added"})
"""Actions of `installation` and `installation_repositories` that give an App access."""


class GithubWebhooks(Webhooks):
    """Verifies and reads GitHub's deliveries.

    Args:
        secret: the webhook's secret; without any secret, every delivery is refused.
        user: the user of the Basic credentials that deliveries signed with `secret` must have, too.
        password: if `user` is empty, too, no credentials are required.
        app_secrets: returns the secrets of Apps. Their deliveries have no credentials.
        sha1: whether deliveries signed with SHA-1 only are accepted.
    """

    def __init__(
        self,
        secret: str,
        user: str = "",
        password: str = "",
        *,
        app_secrets: Callable[[], Sequence[str]] = tuple,
        sha1: bool = False,
    ) -> None:
        self._secret = secret
        self._user = user
        self._password = password
        self._app_secrets = app_secrets
        self._sha1 = sha1

    def expect(self, headers: Mapping[str, str]) -> Signed:
        of_apps = [secret.encode() for secret in self._app_secrets()]
        own = self._secret.encode()
        signature.demand_a_secret(own, *of_apps)
        given = signature.given_in(headers, sha1=self._sha1)

        def check_credentials() -> None:
            signature.verify_credentials(self._user, self._password, headers)

        if not any(of_apps):  # Otherwise the body decides whether it comes from an App.
            check_credentials()
        return _Signed(Digests(given, of_apps), Digests(given, [own]), check_credentials)

    async def receive(self, headers: Mapping[str, str], body: bytes) -> list[Delivery]:
        if len(body) > LARGEST_BODY:
            raise Refused("The delivery is larger than 25 MB.", reason="delivery-too-large", status=413)
        signed = self.expect(headers)
        signed.update(body)
        signed.check()
        event = _header(headers, "x-github-event")
        if not event:
            raise _unreadable("The delivery has no X-GitHub-Event header.")
        # Without an id, the digest of the content identifies a delivery, so that repetitions are recognised.
        delivery_id = _header(headers, "x-github-delivery") or _digest(event, body)
        return [Delivery(delivery_id, FORGE, event, _json_text(headers, body))]

    def read(self, delivery: Delivery) -> Event:
        payload = _parse(delivery.payload)
        if payload is None:
            return Ignored("the delivery isn't a JSON object")
        repository = _repository(payload)
        reader = _READERS.get(delivery.event)
        if reader is None:
            return Ignored(f"event {delivery.event} has no effect", repository)
        try:
            read = reader(payload)
        except wire.Unreadable as error:
            return Ignored(f"the {delivery.event} delivery can't be read: {error}", repository)
        return Ignored(f"{delivery.event} {read}", repository) if isinstance(read, str) else read


class _Signed(Signed):
    """A body signed with an App's secret, or with the webhook's secret and sent with its credentials."""

    def __init__(self, by_app: Digests, by_hook: Digests, check_credentials: Callable[[], None]) -> None:
        self._by_app = by_app
        self._by_hook = by_hook
        self._check_credentials = check_credentials

    def update(self, piece: bytes) -> None:
        self._by_app.update(piece)
        self._by_hook.update(piece)

    def check(self) -> None:
        if self._by_app.fit():
            return
        self._check_credentials()
        if not self._by_hook.fit():
            raise signature.wrong()


def _change_seen(payload: dict[str, object]) -> Event | str:
    """The event, or why it is ignored; the same for the following readers."""
    reported = payload.get("action")
    action = _ACTIONS.get(reported) if isinstance(reported, str) else None
    if action is None:
        return f"action {str(reported)[:LONGEST_HEADER]!r} has no effect"
    change = wire.parse(PullRequestPayload, payload).change()
    if action is ChangeAction.EDITED and not change.is_open:
        action = ChangeAction.CLOSED
    return ChangeEvent(action, change)


def _command_said(payload: dict[str, object]) -> Event | str:
    """A comment command. Stager's own comments don't begin with the prefix, and Apps comment as bots, so
    Stager never answers itself."""
    event = wire.parse(CommentPayload, payload)
    if event.action != "created" or event.issue.pull_request is None:
        return "isn't a new comment on a pull request"
    comment = event.comment.comment()
    if comment.by_bot or parse_command(comment.body) is None:
        return "is no command"
    text = comment.body.strip()[:LONGEST_COMMAND]
    return CommentAdded(
        event.repository.repository(),
        event.issue.number,
        comment.author,
        text,
        comment.id,
        comment.created_at,
    )


def _checks_ended(payload: dict[str, object]) -> Event | str:
    event = wire.parse(CheckPayload, payload)
    if not event.is_completed:
        return "isn't the end of a check"
    if event.context.startswith(OWN_CONTEXT):
        return "is our own"
    return ChecksCompleted(event.repository.repository(), event.commit)


def _merge_queued(payload: dict[str, object]) -> Event | str:
    event = wire.parse(MergeGroupPayload, payload)
    if event.action != "checks_requested":
        return "asks for no checks"
    return MergeQueued(event.repository.repository(), event.merge_group.head_sha)


def _access_changed(payload: dict[str, object]) -> Event | str:
    """An installation of the App. Its repositories may have pull requests already."""
    return AccessGranted() if payload.get("action") in _GRANTS else "grants no access"


_READERS: Mapping[str, Callable[[dict[str, object]], Event | str]] = {
    "pull_request": _change_seen,
    "issue_comment": _command_said,
    "check_suite": _checks_ended,
    "check_run": _checks_ended,
    "status": _checks_ended,
    "merge_group": _merge_queued,
    "installation": _access_changed,
    "installation_repositories": _access_changed,
}
READ_EVENTS = frozenset(_READERS)
"""The events with an effect."""


def _repository(payload: dict[str, object]) -> Repository | None:
    try:
        return payloads.read_repository(payload.get("repository"))
    except wire.Unreadable:
        return None  # Events of organisations and Apps have none.


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if len(value) > LONGEST_HEADER or not (value.isascii() and value.isprintable()):
        raise _unreadable(f"The delivery's header {name} is too long or has invalid characters.")
    return value


def _digest(event: str, body: bytes) -> str:
    return "sha256:" + hashlib.sha256(event.encode() + b"\0" + body).hexdigest()


def _json_text(headers: Mapping[str, str], body: bytes) -> str:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = body.decode()
        if media_type == "application/x-www-form-urlencoded":
            [text] = parse_qs(text, errors="strict", max_num_fields=100).get("payload", [])
    except ValueError:
        raise _unreadable("The delivery's body is neither JSON nor a form with one `payload`.") from None
    if _parse(text) is None:
        raise _unreadable("The delivery's body isn't a JSON object.")
    return text


def _parse(text: str) -> dict[str, object] | None:
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _unreadable(message: str) -> Refused:
    return Refused(
        message,
        hint="Set the content type to `application/json` in the webhook's settings at GitHub.",
        reason="delivery-unreadable",
    )
