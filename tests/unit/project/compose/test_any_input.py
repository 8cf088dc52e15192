"""Whatever a repository has: the reader never raises, and opens no file outside of it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stager.project.compose import Options, read
from stager.project.compose.reference_page import TITLES
from stager.project.tree import Tree
from tests.unit.project.compose.cases import CASES, written
from tests.unit.project.compose.hostile import HOSTILE

WORDS = sorted(
    {key for _, table in TITLES for keys in (table.supported, table.ignored, table.refused) for key in keys}
)
VALUES = [
    *(
        "",
        "~",
        "true",
        "0",
        "-1",
        "1e999",
        "a",
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "{a: }",
        "{a: [b]}",
        "[a, [b], {c: d}]",
    ),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "~/.ssh",
        "./folder",
        "a:b:c:d:e",
        "[::1]:80:80",
        "80:80/udp",
        ".inf",
    ),
    *(
        "'$'",
        "'${'",
        "'${A'",
        "'${A:-${B:?c}}'",
        "'$$'",
        '"\\0"',
        '"\\x00generated:A\\x00"',
        "&a [*a]",
        "*a",
        "!reset x",
    ),
    *(
        "'" + "x" * 300 + "'",
        "'" + "9" * 40 + "'",
        "2026-01-01",
        "0o7",
        "0b1",
        "1_000",
        "'\u00e9'",
        "'\\'",
        "!!binary aGk=",
    ),
]
PIECES = [
    "\n",
    "  ",
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!reset ",
    "\t",
    '"',
    "'",
    "|",
    ">",
    "#",
    "\0",
    "\ufeff",
]
ROUNDS = 250
FILES = {
    "Dockerfile": "FROM a\n",
    ".env.example": "A=${B}\n",
    "b.yaml": "services: {b: {image: b}}\n",
    "folder/a": "",
}


@contextmanager
def opened(inside: Path) -> Iterator[list[str]]:
    """Collects the files outside of a folder that this process opens."""
    found: list[str] = []

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if (
            is_active
            and event in ("open", "os.listdir", "os.scandir")
            and isinstance(arguments[0], str | Path)
        ):
            path = Path(arguments[0])
            if not path.is_relative_to(inside):
                found.append(str(path))

    is_active = True
    sys.addaudithook(audit)
    try:
        yield found
    finally:
        is_active = False


def mutated(text: str, chance: random.Random) -> str:
    """A text with lines exchanged, cut and added."""
    lines = text.splitlines()
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(lines) + 1)
        indent = " " * chance.choice((0, 2, 4, 6, 8))
        match chance.randrange(5):
            case 0:
                lines.insert(at, f"{indent}{chance.choice(WORDS)}: {chance.choice(VALUES)}")
            case 1:
                lines.insert(at, f"{indent}- {chance.choice(VALUES)}")
            case 2 if lines:
                del lines[min(at, len(lines) - 1)]
            case 3 if lines:
                at = min(at, len(lines) - 1)
                key = lines[at].partition(":")[0]
                lines[at] = f"{key}: {chance.choice(VALUES)}"
            case _:
                cut = chance.randrange(len(text) + 1)
                return text[:cut] + chance.choice(PIECES) + text[cut:]
    return "\n".join(lines)


def texts(chance: random.Random) -> Iterator[str]:
    """Mutations of all files of these tests, and files of random keys."""
    known = [
        text
        for case in CASES.values()
        for path, text in case.files.items()
        if path.endswith((".yml", ".yaml"))
    ]
    known += [case.text for case in HOSTILE.values() if len(case.text) < 5_000]
    for _ in range(ROUNDS):
        yield mutated(chance.choice(known), chance)
    for _ in range(ROUNDS):
        keys = chance.sample(WORDS, chance.randint(1, 8))
        inner = "\n".join(f"    {key}: {chance.choice(VALUES)}" for key in keys)
        outer = f"include: [b.yaml]\nvolumes: {chance.choice(VALUES)}\n"
        yield f"services:\n  app:\n    image: a\n{inner}\n{outer}"


@pytest.mark.parametrize("seed", range(2))
def test_any_file(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    tree = written(tmp_path, FILES)
    (tmp_path / "link").symlink_to("/etc")
    read(written(tmp_path, {"compose.yaml": "services: {app: {image: a}}"}))  # imports what decodes
    with opened(tmp_path) as outside:
        for text in texts(chance):
            (tmp_path / "compose.yaml").write_text(text, "utf-8", "surrogatepass")
            options = Options(
                web=chance.choice(("", "app", "web")),
                profiles=frozenset(chance.choice(((), ("*",)))),
                variables={"A": chance.choice(("", "a", "$B", "/etc"))},
            )
            found = read(tree, options)
            assert found
            assert (found.stack is None) == bool(found.refusals), text
            assert all(each.place.file and each.text for each in found.refusals)
            for mount in (mount for service in found.services for mount in service.mounts):
                assert not mount.content.startswith(("/", "..")), text
    assert outside == []


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"\xef\xbb\xbfservices: {a: {image: b}}", bytes(range(256))]
)
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "compose.yaml").write_bytes(content)
    assert read(Tree(tmp_path))


@pytest.mark.parametrize("name", ["a" * 300, "\0", "a\nb", "\udcff", "folder", "/", "."])
def test_any_path(tmp_path: Path, name: str) -> None:
    tree = written(tmp_path, FILES)
    found = read(tree, Options(path=name))
    assert found
    assert found.refusals


@pytest.mark.parametrize("name", ["a" * 300, "\\0", "a\\nb", "\\ud800"])
def test_any_path_in_a_file(tmp_path: Path, name: str) -> None:
    text = f'services: {{app: {{image: a, env_file: "{name}", volumes: ["./{name}:/x"], build: "{name}"}}}}\n'
    assert read(written(tmp_path, {"compose.yaml": text}))
