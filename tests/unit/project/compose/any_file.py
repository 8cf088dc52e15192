"""`python -m tests.unit.project.compose.any_file FOLDER SEED`: reads files that are written at random.

A process of its own, because an audit hook can't be removed: in the process of all tests, it would be called
for everything that the tests after it do.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

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


def opened(inside: Path) -> list[str]:
    """A list that collects the files outside of a folder that this process opens from now on."""
    found: list[str] = []

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | Path):
            path = Path(arguments[0])
            if not path.is_relative_to(inside):
                found.append(str(path))

    sys.addaudithook(audit)
    return found


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


def read_any(folder: Path, seed: int) -> int:
    """Read many files; returns their number."""
    chance = random.Random(seed)
    tree = written(folder, FILES)
    (folder / "link").symlink_to("/etc")
    read(written(folder, {"compose.yaml": "services: {app: {image: a}}"}))  # imports what decodes
    outside = opened(folder)
    count = 0
    for text in texts(chance):
        count += 1
        (folder / "compose.yaml").write_text(text, "utf-8", "surrogatepass")
        _check(tree, text, chance)
    assert outside == []
    return count


def _check(tree: Tree, text: str, chance: random.Random) -> None:
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


if __name__ == "__main__":
    print(read_any(Path(sys.argv[1]), int(sys.argv[2])))
