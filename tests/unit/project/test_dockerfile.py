"""Which ports a Dockerfile exposes, in its own order."""

from __future__ import annotations

import time

import pytest

from stager.project.dockerfile import base_arguments, declared, exposed, first_port

RANGED = "FROM x\nEXPOSE 8000-8005 22"


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM x\nEXPOSE 8080\nEXPOSE 1025", "8080 1025"),
        ("FROM x\nEXPOSE 9000 80/tcp 53/udp", "9000 80/tcp 53/udp"),
        ("from x\nexpose 8080", "8080"),
        (RANGED, "8000-8005 22"),
        ("FROM x\nEXPOSE \\\n  # the web\n  9000 \\\n\n  80", "9000 80"),
        ("# escape=`\nFROM x\nEXPOSE 9000 `\n 80", "9000 80"),
        ("# not a directive\n# escape=`\nFROM x\nEXPOSE 9000\nCMD `\nEXPOSE 1", "9000 1"),
        ("FROM x AS a\nEXPOSE 1\nFROM y\nEXPOSE 2", "2"),
        ("FROM x AS a\nEXPOSE 1\nFROM y AS b\nFROM A", "1"),
        ("FROM x AS a\nEXPOSE 1\nFROM 0", "1"),
        ("FROM x AS a\nEXPOSE 1\nFROM a\nEXPOSE 2", "2"),
        ("FROM x AS a\nEXPOSE 1\nFROM y", ""),
        ("FROM --platform=$BUILDPLATFORM x AS a\nEXPOSE 1\nFROM a", "1"),
        ("ARG BASE=a\nFROM x AS a\nEXPOSE 1\nFROM ${BASE}", "1"),
        ("FROM x\nARG PORT=3000\nEXPOSE $PORT", "3000"),
        ("FROM x\nARG PORT\nEXPOSE $PORT", "$PORT"),
        ("ARG PORT=3000\nFROM x\nARG PORT\nEXPOSE $PORT", "3000"),
        ("ARG PORT=3000\nFROM x\nEXPOSE $PORT", "$PORT"),
        ("FROM x\nENV PORT=3000\nARG PORT=1\nEXPOSE ${PORT}/tcp", "3000/tcp"),
        ("FROM x\nENV PORT 3000\nEXPOSE $PORT", "3000"),
        ('FROM x\nENV A="3000" B=$A\nEXPOSE $A', "3000"),
        ("FROM x AS a\nENV PORT=3000\nFROM a\nEXPOSE $PORT", "3000"),
        ("FROM x\nEXPOSE ${PORT:-3000}", "${PORT:-3000}"),
        ("FROM x\nENV P=\nEXPOSE ${P:+1}9 ${P:-2}", "9 ${P:-2}"),
        ("FROM x\nRUN <<EOF\nEXPOSE 1\nFROM y\nEOF\nEXPOSE 2", "2"),
        ("FROM x\nRUN <<-'ONE' && <<TWO\nEXPOSE 1\n\tONE\nEXPOSE 1\nTWO\nEXPOSE 2", "2"),
        ("FROM x\nRUN echo <<<word\nEXPOSE 2", "2"),
        ("FROM x\nONBUILD EXPOSE 1", ""),
        ("FROM x\nEXPOSE 80 \\", "80"),
        ("\ufeffFROM x\r\nEXPOSE 8080\r\nEXPOSE 80\r\n", "8080 80"),
        ("EXPOSE 1", ""),
        ("", ""),
        ("FROM x\nARG NAME=\"it's\nEXPOSE 80", "80"),
    ],
)
def test_words_in_their_order(dockerfile: str, words: str) -> None:
    assert " ".join(exposed(dockerfile, {})) == words


def test_declared_arguments() -> None:
    text = "ARG A=1\nFROM x\narg B C=2\nRUN <<EOF\nARG D\nEOF\n# ARG E\nENV F=1\nFROM y\nARG G='a b'"
    assert declared(text) == {"A", "B", "C", "G"}


@pytest.mark.parametrize(
    ("dockerfile", "chosen"),
    [
        ("ARG PYTHON_BASE=python:3\nFROM ${PYTHON_BASE}", {"python:3": "PYTHON_BASE"}),
        ("ARG A=a\nARG B=b\nFROM $A AS x\nFROM --platform=linux/amd64 $B", {"a": "A", "b": "B"}),
        ("ARG A=a\nFROM ${A:-c}", {"a": "A"}),
        ("FROM ${A:-c}", {"c": "A"}),
        ("ARG GIVEN\nFROM $GIVEN", {"mine:1": "GIVEN"}),
        ("ARG TAG=1\nFROM python:$TAG", {}),
        ("FROM x\nARG A=a\nFROM $A", {"": "A"}),
        ("FROM x", {}),
    ],
)
def test_base_images_that_an_argument_chooses(dockerfile: str, chosen: dict[str, str]) -> None:
    assert base_arguments(dockerfile, {"GIVEN": "mine:1"}) == chosen


def test_build_arguments_go_before_defaults() -> None:
    dockerfile = "FROM x\nARG PORT=3000 OTHER\nEXPOSE $PORT $OTHER"
    assert exposed(dockerfile, {"PORT": "4000", "OTHER": "5000"}) == ("4000", "5000")
    assert exposed("FROM x\nEXPOSE $PORT", {"PORT": "4000"}) == ("$PORT",), "it isn't declared"


@pytest.mark.parametrize(("target", "words"), [("web", ("1",)), ("WEB", ("1",)), ("1", ("2",)), ("no", ())])
def test_of_the_target(target: str, words: tuple[str, ...]) -> None:
    assert exposed("FROM x AS web\nEXPOSE 1\nFROM x AS mail\nEXPOSE 2\nFROM x", {}, target) == words


@pytest.mark.parametrize(
    ("words", "port"),
    [
        (("8080", "80"), 8080),
        (("53/udp", "8080/tcp"), 8080),
        (("53/UDP", "8080/TCP"), 8080),
        (("53/udp",), None),
        (("8000-8005",), 8000),
        (("$PORT",), 3000),
        (("${PORT:-1}",), 3000),
        (("${NONE:-1}",), 1),
        (("$NONE", "81"), 81),
        (("$BOTH",), 7000),
        (("http",), None),
        ((), None),
    ],
)
def test_first_tcp_port(words: tuple[str, ...], port: int | None) -> None:
    assert first_port(words, {"PORT": "3000", "BOTH": "7000 80"}) == port


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nENV A=xxxxxxxx\n" + "ENV A=$A$A\n" * 60 + "EXPOSE $A\n",
        'FROM a\nENV A="1 1 1 1"\n' + 'ENV A="$A $A"\n' * 12 + "EXPOSE $A\n" * 5000,
        "FROM a\n" + "".join(f"EXPOSE {port}{'0' * 3000}\n" for port in range(20)),
        "FROM a AS b\n" * 5000 + "EXPOSE 80\n",
        "FROM a\nEXPOSE 80\x0080\n",
        f"FROM {'9' * 5000}\nEXPOSE\n",
    ],
    ids=["doubling", "doubling of words", "long", "stages", "a zero byte", "a long number"],
)
def test_a_stranger_s_dockerfile_stays_within_bounds(text: str) -> None:
    """The words become an argument of a program: 128 KiB at most (execve(2)), without zero bytes."""
    begun = time.monotonic()
    words = " ".join(exposed(text, {}))
    assert len(words) < 10_000
    assert "\0" not in words
    assert time.monotonic() - begun < 5
