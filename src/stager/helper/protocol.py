"""What both sides of the helper's socket know: one JSON line in, one JSON line out.

A request is `{"verb": "hello", "fields": {...}}`; an answer is `{"ok": true, "result": {...}}` or
`{"ok": false, "kind": "refused", "reason": "unknown-verb", "message": "...", "hint": "..."}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PROTOCOL = 1
"""Raised when a shape changes so that an older side can't work with it."""

DEFAULT_SOCKET = "/run/stager/helper.sock"
LINE_LIMIT = 64 * 1024
"""Bytes of a request, line end included."""
ANSWER_LIMIT = 1024 * 1024
"""Bytes of an answer, line end included."""

Kind = Literal["refused", "retry", "fault"]
KINDS: tuple[Kind, ...] = ("refused", "retry", "fault")


class HelperError(Exception):
    """A verb didn't work. The caller gets the sentence, and nothing else.

    Args:
        message: a sentence.
        kind: `refused` for a request that is wrong, `retry` for what may work later, `fault` for what won't.
        reason: a slug that means one thing.
        hint: what to do; may be empty.
    """

    def __init__(self, message: str, *, kind: Kind, reason: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.kind, self.reason, self.hint = message, kind, reason, hint


def refused(message: str, reason: str = "bad-request", hint: str = "") -> HelperError:
    """The request is wrong."""
    return HelperError(message, kind="refused", reason=reason, hint=hint)


@dataclass(frozen=True, slots=True)
class Request:
    """A verb with its fields, not yet checked against the verb's shape."""

    verb: str
    fields: Mapping[str, Any]


def encode_request(verb: str, fields: Mapping[str, object]) -> bytes:
    """One line."""
    return _line({"verb": verb, "fields": fields})


def decode_request(line: bytes) -> Request:
    """Read one line.

    Raises:
        HelperError: with a sentence, when it isn't exactly a request.
    """
    value = _load(line)
    if not isinstance(value, dict) or set(value) != {"verb", "fields"}:
        raise refused("A request is an object with `verb` and `fields`, and nothing else.")
    if not isinstance(value["verb"], str) or not isinstance(value["fields"], dict):
        raise refused("`verb` must be a text, and `fields` an object.")
    return Request(value["verb"], value["fields"])


def encode_result(result: Mapping[str, object]) -> bytes:
    """One line, for a verb that worked."""
    return _line({"ok": True, "result": result})


def encode_error(error: HelperError) -> bytes:
    """One line, for one that didn't."""
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
    """The result in an answer.

    Raises:
        HelperError: the one that the other side sent.
        ValueError: it isn't an answer.
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
        return json.loads(line.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise refused("The request isn't a line of JSON.") from error


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Two readers may differ on which of two equal names counts, so neither does."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name twice")
    return made


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} isn't JSON")
