"""What of a delivery's body is shown: a fixed list of fields that can't hold secrets."""

from __future__ import annotations

import json
from collections.abc import Sequence

FIELDS = (
    "action",
    "repository.full_name",
    "repository.private",
    "number",
    "pull_request.number",
    "pull_request.state",
    "pull_request.draft",
    "pull_request.merged",
    "pull_request.title",
    "pull_request.user.login",
    "pull_request.head.label",
    "pull_request.head.sha",
    "pull_request.base.ref",
    "issue.number",
    "comment.user.login",
    "check_suite.head_sha",
    "check_suite.conclusion",
    "merge_group.head_sha",
    "ref",
    "after",
    "sender.login",
    "installation.id",
)
"""Paths in the JSON of GitHub's webhooks (GitHub docs, Webhook events and payloads) and local ones."""

LONGEST_VALUE = 200
"""Characters of a value that are shown."""


def summary(payload: str) -> Sequence[tuple[str, str]]:
    """The fields that the body has, each with its value; nothing for a body that isn't a JSON object."""
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return ()
    found = ((path, _value(body, path)) for path in FIELDS)
    return [(path, value) for path, value in found if value]


def _value(body: object, path: str) -> str:
    for name in path.split("."):
        if not isinstance(body, dict):
            return ""
        body = body.get(name)
    if isinstance(body, bool):
        return "true" if body else "false"
    return str(body)[:LONGEST_VALUE] if isinstance(body, str | int) else ""
