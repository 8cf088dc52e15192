"""Any `.stager.yml`: it says something that can be used, or is refused in few words with a line, and neither
takes the memory nor the day."""

from __future__ import annotations

import re

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from stager.domain.errors import Fault
from stager.settings.repository_file import MAX_SIZE, ParsedFile, RepositoryFile, read_file
from tests.fuzz.junk import JUNK, damaged, mutated
from tests.length import length

NAME = ".stager.yml"
EVERYTHING = frozenset(RepositoryFile.model_fields)
LONGEST_ANSWER = 4 * MAX_SIZE
"""Characters that may be said of a file."""
GOOD = """\
port: 8000
command: bin/serve --now 'and here'
health_path: /up
env: &env
  RAILS_ENV: staging
  WORKERS: 2
  DEBUG: true
build:
  context: web/app
  dockerfile: docker/Dockerfile
  args:
    <<: *env
    NODE: 22
hooks:
  after_launch: [bin/migrate, [bin/seed, --small data]]
  before_kill: bin/goodbye
"""
DATA = yaml.safe_load(GOOD)
PLACED = re.compile(rf"({'|'.join(EVERYTHING)})\b")
"""How a problem begins that should have a line before it, because it has its place in the file."""

PIECES = st.sampled_from(
    [
        *GOOD.splitlines(keepends=True),
        "a: &a [x, x, x, x]\n",
        "b: &b {A: *a, B: *a, <<: *env}\n",
        *["*a", "*b", "*env", "&a ", "<<", "!!str ", "!!binary ", "!!python/object:os.system ", "!x "],
        *"?:-[]{},#'\\",
        *["0o17", "1e999", ".nan", "2026-01-01"],
        *['"', "\n", " ", "  ", "\t", ": ", "- ", "|\n", ">-\n", "---\n", "...\n", "%YAML 1.2\n"],
        *["\0", "\ufeff", "\x85", "\u2028", "\U0001f600", "\ud800"],
        *["x" * 300, "[" * 60, "{a: " * 60, "- " * 60, "&a [*a]"],
    ]
)
FILES = st.one_of(
    st.lists(PIECES, max_size=30).map(lambda pieces: "".join(pieces).encode("utf-8", "surrogatepass")),
    damaged(st.just(GOOD.encode())),
    mutated(st.just(DATA)).map(lambda data: yaml.safe_dump(data).encode()),
    JUNK.map(lambda data: repr(data).encode("utf-8", "surrogatepass")),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=100),
)


def read(content: bytes, allowed: frozenset[str] = EVERYTHING) -> ParsedFile | Fault:
    try:
        return read_file(content, NAME, allowed)
    except Fault as fault:
        return fault


def check(content: bytes, allowed: frozenset[str] = EVERYTHING) -> None:
    said = read(content, allowed)
    if isinstance(said, Fault):
        check_words(said)
    else:
        check_values(said)


def check_words(fault: Fault) -> None:
    assert fault.reason == "repository-file-invalid"
    assert f"{fault}{fault.detail}".encode(), "it can be shown"
    assert len(fault.message) + len(fault.detail) <= LONGEST_ANSWER
    problems = fault.detail.splitlines()
    assert problems
    lost = [problem for problem in problems if PLACED.match(problem)]
    assert not lost


def check_values(said: ParsedFile) -> None:
    manifest = said.manifest
    assert manifest.port is None or 1 <= manifest.port <= 65_535
    assert manifest.health_path is None or re.fullmatch(r"/[!-~]*", manifest.health_path)
    arguments = said.build.args if said.build else {}
    for name, value in [*manifest.variables.items(), *arguments.items()]:
        assert name
        assert not {"=", "\0"} & {*name}
        assert "\0" not in value
    hooks = [*manifest.hooks.after_launch, *manifest.hooks.before_kill]
    commands = [manifest.command, *(hook.command for hook in hooks)]
    assert all(isinstance(word, str) and "\0" not in word for command in commands for word in command)
    assert all(hook.command[0] for hook in hooks)
    for path in (said.build.context, said.build.dockerfile) if said.build else ():
        assert not path.startswith("/")
        assert ".." not in path.split("/")


@length(300)
@given(FILES, st.frozensets(st.sampled_from(sorted(EVERYTHING))) | st.just(EVERYTHING))
def test_any_file_is_used_or_refused(content: bytes, allowed: frozenset[str]) -> None:
    check(content, allowed)


def aliased(value: str, times: int, key: str = "hooks: {after_launch: [%s]}") -> bytes:
    """A file in which the same value stands so often by an alias."""
    return f"a: &a {value}\n{key % ', '.join(['*a'] * times)}\n".encode()[:MAX_SIZE]


SHAPES = st.sampled_from(["[%s]", "{A: %s}", "{<<: %s}", "{? %s : x}", "'%s'", '"%s"', "!x %s", "- %s"])
LEAVES = st.sampled_from(["x", "x y", "'x", "!x y", "[]", "{}", "1", "~", "\\ "])


@st.composite
def inflated(draw: st.DrawFn) -> bytes:
    """A short file that says the same things very often, or very long ones."""
    shape = draw(SHAPES)
    value = shape % (draw(LEAVES) * draw(st.sampled_from([1, 50, 1_000, 14_000])))
    lines = [f"a0: &a0 {value}"]
    for level in range(1, draw(st.integers(1, 8))):
        often = ", ".join([f"*a{level - 1}"] * draw(st.sampled_from([1, 10, 100, 2_000])))
        name = "k" * draw(st.sampled_from([1, 1_000, 8_000]))
        shape = draw(st.sampled_from(["[%s]", "{<<: [%s]}", f"{{{name}: [%s]}}", f"{{? {name} : [%s]}}"]))
        lines.append(f"a{level}: &a{level} {shape % often}")
    last = f"*a{len(lines) - 1}"
    key = draw(
        st.sampled_from(["env: %s", "hooks: {after_launch: %s}", "build: {args: %s}", "command: %s", "? %s"])
    )
    return "\n".join([*lines, key % last]).encode()[:MAX_SIZE]


@length(8)
@given(inflated())
@example(aliased("'" + "x " * 7_000 + "'", 4_000))
@example(aliased("'" + "x" * 14_000 + ' "' + "'", 4_000))
@example(b"a: &a [" + b"!x y, " * 15 + b"]\n? " + b"k" * 16_000 + b"\n: [" + b"*a, " * 3_500 + b"]")
def test_short_files_dont_become_long_ones(content: bytes) -> None:
    check(content)
