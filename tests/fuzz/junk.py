"""JSON that is nothing in particular, and JSON that was something until a few values were exchanged."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

STRANGE = st.sampled_from(
    [
        "",
        "\0",
        "\ud800",
        "\u202e/stager kill",
        "../../etc",
        "a" * 5_000,
        "-1",
        "null",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-01-01",
        10**19,
        -1,
        0,
        2**63,
        10**300,
        1e308,
        -0.0,
        float("nan"),
        float("inf"),
        True,
        [],
        {},
        [[[[[]]]]],
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | STRANGE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)

Place = tuple[str | int, ...]


def places(value: Any, trail: Place = ()) -> list[Place]:
    """Where there is something in it, the whole of it first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [trail, *(place for key, each in inner for place in places(each, (*trail, key)))]


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[Any]) -> Any:
    """One of these with up to three of its values exchanged, removed, or put where others were."""
    value = copy.deepcopy(draw(originals))
    for _ in range(draw(st.integers(0, 3))):
        known = places(value)
        place = draw(st.sampled_from(known))
        if not place:
            continue
        *way, last = place
        parent = _at(value, tuple(way))
        match draw(st.sampled_from(["junk", "junk", "gone", "other"])):
            case "gone":
                del parent[last]
            case "other":
                parent[last] = copy.deepcopy(_at(value, draw(st.sampled_from(known))))
            case _:
                parent[last] = copy.deepcopy(draw(JUNK))
    return value


def written(value: Any) -> bytes:
    """As JSON. What JSON can say and UTF-8 can't is escaped, as senders do."""
    return json.dumps(value).encode()


@st.composite
def damaged(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """One of these with a few bytes lost, or others in their place."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        data[start : start + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data)


def _at(value: Any, place: Place) -> Any:
    for part in place:
        value = value[part]
    return value
