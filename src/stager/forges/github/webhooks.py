"""What GitHub sends: `web` hands raw deliveries to `receive`, and intake has the recorded ones `read`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from urllib.parse import parse_qs

from stager.domain.errors import Refused
from stager.domain.events import ChangeAction, ChangeSeen, Delivery, Event, Ignored
from stager.domain.source import Repository
from stager.forges.github import payloads, signature
from stager.ports.forge import Webhooks

FORGE = "github"
LARGEST_BODY = 25 * 1024 * 1024
"""Bytes. GitHub itself doesn't deliver more."""

LONGEST_HEADER = 100
"""Characters of a delivery's id or event. GitHub's ids have 36."""

_EDITS = ("labeled", "unlabeled", "ready_for_review", "converted_to_draft")
_ACTIONS = {action.value: action for action in ChangeAction} | dict.fromkeys(_EDITS, ChangeAction.EDITED)
"""GitHub's actions of `pull_request` that have an effect. The others concern reviews, people and merging."""


class GithubWebhooks(Webhooks):
    """Verifies and reads GitHub's deliveries.

    Args:
        secret: the webhook's secret; while it is empty, every delivery is refused.
        user: the Basic credentials that deliveries must have besides.
        password: with `user` empty too, no credentials are demanded.
    """

    def __init__(self, secret: str, user: str = "", password: str = "") -> None:
        self._secret = secret.encode()
        self._user = user
        self._password = password

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        if len(body) > LARGEST_BODY:
            raise Refused("The delivery is larger than 25 MB.", reason="delivery-too-large", status=413)
        signature.verify_credentials(self._user, self._password, headers)
        signature.verify(self._secret, headers, body)
        event = _header(headers, "x-github-event")
        if not event:
            raise _unreadable("The delivery has no X-GitHub-Event header.")
        # Without an id of its own, a delivery is told by what it says, so that a repetition is still one.
        delivery_id = _header(headers, "x-github-delivery") or _digest(event, body)
        return Delivery(delivery_id, FORGE, event, _json_text(headers, body))

    def read(self, delivery: Delivery) -> Event:
        payload = _parse(delivery.payload)
        if payload is None:
            return Ignored("the delivery isn't a JSON object")
        repository = _repository(payload)
        if delivery.event != "pull_request":
            return Ignored(f"event {delivery.event} has no effect", repository)
        action = payload.get("action")
        if not isinstance(action, str) or action not in _ACTIONS:
            return Ignored(f"pull_request action {str(action)[:LONGEST_HEADER]!r} has no effect", repository)
        return _change_seen(payload, repository)


def _change_seen(payload: dict[str, object], repository: Repository | None) -> Event:
    try:
        event = payloads.read_event(payload)
    except payloads.Unreadable as error:
        return Ignored(f"the pull_request delivery can't be read: {error}", repository)
    action = _ACTIONS[event.action]
    if action is ChangeAction.EDITED and not event.change.is_open:
        action = ChangeAction.CLOSED  # whatever else is said of it
    return ChangeSeen(action, event.change)


def _repository(payload: dict[str, object]) -> Repository | None:
    try:
        return payloads.read_repository(payload.get("repository"))
    except payloads.Unreadable:
        return None  # Organisations' and Apps' events have none.


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if len(value) > LONGEST_HEADER or not (value.isascii() and value.isprintable()):
        raise _unreadable(f"The delivery's header {name} isn't readable.")
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
        hint="GitHub's webhook settings should say `application/json`.",
        reason="delivery-unreadable",
    )
