"""The protocol of the helper's socket: one JSON line as request, one JSON line as answer.

A request is `{"verb": "hello", "fields": {...}}`; an answer is `{"ok": true, "result": {...}}` or
`{"ok": false, "kind": "refused", "reason": "unknown-verb", "message": "...", "hint": "..."}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PROTOCOL = 1
"""Incremented with each incompatible change."""

DEFAULT_SOCKET = "/run/stager/helper.sock"
LINE_LIMIT = 64 * 1024
"""Maximum size of a request in bytes, with its line end."""
ANSWER_LIMIT = 1024 * 1024
"""Maximum size of an answer in bytes, with its line end."""

Kind = Literal["refused", "retry", "fault"]
KINDS: tuple[Kind, ...] = ("refused", "retry", "fault")


class HelperError(Exception):
    """A request failed. The caller receives these fields, and no traceback.

    Args:
        message: a sentence.
        kind: `refused` for an invalid request, `retry` for a temporary error, `fault` for a permanent one.
        reason: a slug with one meaning.
        hint: what to do; may be empty.
    """

    def __init__(self, message: str, *, kind: Kind, reason: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.kind, self.reason, self.hint = message, kind, reason, hint


def refused(message: str, reason: str = "bad-request", hint: str = "") -> HelperError:
    """Make the error for an invalid request."""
    return HelperError(message, kind="refused", reason=reason, hint=hint)


@dataclass(frozen=True, slots=True)
class Request:
    """A verb with its fields, not yet validated against the verb's shape."""

    verb: str
    fields: Mapping[str, Any]


def encode_request(verb: str, fields: Mapping[str, object]) -> bytes:
    """Encode a request as one line."""
    return _line({"verb": verb, "fields": fields})


def decode_request(line: bytes) -> Request:
    """Decode one line.

    Raises:
        HelperError: it isn't a valid request.
    """
    value = _load(line)
    if not isinstance(value, dict) or set(value) != {"verb", "fields"}:
        raise refused("A request must be an object with exactly `verb` and `fields`.")
    if not isinstance(value["verb"], str) or not isinstance(value["fields"], dict):
        raise refused("`verb` must be a string, and `fields` an object.")
    return Request(value["verb"], value["fields"])


def encode_result(result: Mapping[str, object]) -> bytes:
    """Encode the result of a successful request as one line."""
    return _line({"ok": True, "result": result})


def encode_error(error: HelperError) -> bytes:
    """Encode an error as one line."""
    return _line(
        {
            "ok": False,
            "kind": error.kind,
            "reason": error.reason,
            "message": error.message,
            "hint": error.hint,
        }
    )


def decode_answer(line: bytes) -> dict[str, Any]:
    """Decode an answer; returns the result.

    Raises:
        HelperError: the error in the answer.
        ValueError: it isn't a valid answer.
    """
    value = json.loads(line)
    match value:
        case {"ok": True, "result": dict() as result}:
            return result
        case {"ok": False, "kind": kind}:
            pass
        case _:
            raise ValueError("not an answer")
    raise HelperError(
        str(value.get("message")),
        kind=kind if kind in KINDS else "fault",
        reason=str(value.get("reason")),
        hint=str(value.get("hint") or ""),
    )


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _load(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise refused("The request isn't valid JSON.") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Reject duplicate names, of which parsers use either the first or the last."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("duplicate name")
    return values


def _reject_constant(name: str) -> object:
    raise ValueError(f"{name} isn't JSON")
