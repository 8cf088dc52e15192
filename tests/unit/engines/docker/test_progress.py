"""What BuildKit prints becomes a log that people can read."""

from __future__ import annotations

import base64
import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.engines.docker.build.failure_causes import likely_cause, sentence
from stager.engines.docker.build.progress import Objects, Progress, Step

A, B, C = (f"sha256:{digit * 64}" for digit in "abc")
NOW = "2026-01-01T12:00:00Z"


def vertex(digest: str, name: str, **facts: Any) -> dict[str, Any]:
    return {"vertexes": [{"digest": digest, "name": name, **facts}]}


def output(digest: str, text: bytes, stream: int = 1) -> dict[str, Any]:
    return {"logs": [{"vertex": digest, "stream": stream, "data": base64.b64encode(text).decode()}]}


def printed(*objects: dict[str, Any] | str) -> str:
    """As buildx prints them: pretty, one after the other."""
    return "".join(o if isinstance(o, str) else json.dumps(o, indent=2) + "\n" for o in objects)


def read(*objects: dict[str, Any] | str) -> tuple[list[str], Progress]:
    said: list[str] = []
    progress = Progress(said.append)
    progress.feed(printed(*objects))
    progress.feed("", last=True)
    return said, progress


def test_a_step_with_its_output() -> None:
    said, progress = read(
        vertex(A, "[build 1/2] FROM docker.io/library/x:1"),
        vertex(A, "[build 1/2] FROM docker.io/library/x:1", started=NOW),
        vertex(A, "[build 1/2] FROM docker.io/library/x:1", started=NOW, completed=NOW, cached=True),
        vertex(B, "[build 2/2] RUN make &&\n  make install", started=NOW),
        output(B, b"one\ntw"),
        output(B, b"o\nthree"),
        vertex(B, "[build 2/2] RUN make &&\n  make install", started=NOW, completed=NOW),
    )

    assert said == [
        "#1 [build 1/2] FROM docker.io/library/x:1",
        "#1 CACHED",
        "#2 [build 2/2] RUN make && make install",
        "#2 one",
        "#2 two",
        "#2 three",
    ]
    assert progress.failed is None
    assert progress.current is None


def test_steps_side_by_side_keep_their_lines_apart() -> None:
    said, progress = read(
        vertex(A, "a", started=NOW),
        vertex(B, "b", started=NOW),
        output(A, b"half of a "),
        output(B, b"b\n"),
        output(A, b"stderr of a\n", stream=2),
        output(A, b"line\n"),
    )

    assert said[2:] == ["#2 b", "#1 stderr of a", "#1 half of a line"]
    assert progress.current == Step("b")


def test_what_a_terminal_would_show() -> None:
    said, _ = read(
        vertex(A, "a", started=NOW),
        output(A, b"10 %\r55 %\r100 %\r\n\x1b[31mred\x1b[0m \x1b]0;title\x07\xff\n\n"),
    )

    assert said[1:] == ["#1 100 %", "#1 red \ufffd"]


def test_lines_are_cut() -> None:
    said, _ = read(vertex(A, "a", started=NOW), output(A, b"x" * 100_000), output(A, b"\n"))

    assert len(said[1]) == 2_000


def test_what_is_masked_leaves_no_half_behind() -> None:
    said: list[str] = []
    progress = Progress(said.append, lambda text: text.replace("tops3cret", "***"))
    for facts in (
        vertex(A, "[1/1] RUN echo tops3cret", started=NOW),
        output(A, b"x" * 1_990 + b" tops3cret and more\n" + b"tops3"),
        output(A, b"cret" + b"y" * 1_999),
        output(A, b"\n"),
        vertex(A, "[1/1] RUN echo tops3cret", error="tops3cret: exit code: 1"),
    ):
        progress.feed(printed(facts))
    progress.feed("ERROR: tops3cret", last=True)

    everything = f"{said} {progress.failed} {progress.complaint} {progress.last_lines}"
    assert "***" in everything
    assert not any(half in everything for half in ("tops", "cret"))


def test_transfers_are_reported_once() -> None:
    going = {"id": "transferring context:", "vertex": A, "current": 1_200_000}
    said, _ = read(
        vertex(A, "[internal] load build context", started=NOW),
        {"statuses": [going]},
        {"statuses": [{**going, "completed": NOW}]},
        {"statuses": [{**going, "completed": NOW}]},
    )

    assert said[1:] == ["#1 transferring context: 1.2 MB done"]


def test_warnings_are_reported() -> None:
    warning = {"vertex": A, "level": 1, "short": base64.b64encode(b"ENV is spelt oddly").decode()}
    assert read({"warnings": [warning]})[0] == ["WARNING: ENV is spelt oddly"]


def test_the_first_step_that_failed_is_to_blame() -> None:
    said, progress = read(
        vertex(A, "[web 2/3] RUN a", started=NOW, completed=NOW, error="context canceled"),
        vertex(B, "[build 3/5] RUN npm ci", started=NOW, completed=NOW, error="x: exit code: 1"),
        vertex(C, "[build 4/5] RUN c", error="exit code: 2"),
        "ERROR: failed to solve: x: exit code: 1\n",
    )

    failed = progress.failed
    assert failed
    assert (failed.stage, failed.number, failed.instruction) == ("build", "3/5", "RUN npm ci")
    assert failed.exit_code == 1
    assert str(failed) == "step 3/5 of stage build: RUN npm ci"
    assert progress.complaint == "failed to solve: x: exit code: 1"
    assert "#2 ERROR: x: exit code: 1" in said
    assert "context canceled" not in progress.last_lines


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[2/2] RUN true", "step 2/2: RUN true"),
        ("[internal] load .dockerignore", "[internal] load .dockerignore"),
        ("[linux/arm64 build 2/3] RUN [ -e x ]", "step 2/3 of stage linux/arm64 build: RUN [ -e x ]"),
        (f"[2/2] RUN {'x' * 200}", f"step 2/2: RUN {'x' * 115}…"),
    ],
)
def test_a_step_in_words(name: str, shown: str) -> None:
    assert str(Step(name)) == shown


def test_plain_lines_between_objects() -> None:
    said, progress = read("WARNING: no git\n", vertex(A, "a", started=NOW), "ERROR: broken", "\n----\nmore\n")

    assert said == ["WARNING: no git", "#1 a", "ERROR: broken", "----", "more"]
    assert progress.complaint == "broken"


def test_what_was_cut_off_is_a_line() -> None:
    said, progress = read('{\n  "vertexes": [')

    assert said == ["{", '"vertexes": [']
    assert progress.complaint == "{"


WHOLE = printed(
    vertex(A, "[1/1] RUN echo 'Grüße {}'", started=NOW),
    "a line {\n",
    {},
    output(A, "Grüße {\n".encode()),
    "the last one",
)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_it_may_come_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    objects = Objects()
    found = [o for start, end in itertools.pairwise(edges) for o in objects.feed(WHOLE[start:end])]
    found += objects.feed("", last=True)

    assert found == list(Objects().feed(WHOLE, last=True))
    assert [o for o in found if isinstance(o, str)] == ["a line {", "the last one"]
    assert len(found) == 5


@pytest.mark.parametrize("piece", ["failed to compute cache key: ", "/", "lstat ", '"/', "sh: "])
def test_a_commands_length_costs_no_time(piece: str) -> None:
    """A step's error quotes its command, and is read for causes."""
    error = f'process "/bin/sh -c {piece * (1_000_000 // len(piece))}" did not end: exit code: 3'
    _, progress = read(vertex(A, "[1/1] RUN x", started=NOW, completed=NOW, error=error))
    assert progress.failed is not None
    assert progress.failed.exit_code == 3
    began = time.process_time()
    likely_cause(progress.failed, progress.failed.error)
    sentence(progress.failed, "")
    sentence(Step("[internal] x", progress.failed.error.replace("exit code", "")), "")
    assert time.process_time() - began < 2
