"""The repository's own file: what it may set, and the errors for one that can't be used."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stager.domain.errors import Fault
from stager.domain.pictures import Box, PictureSpec
from stager.domain.recipe import EMPTY_MANIFEST, Hook, Hooks, Manifest, Recipe
from stager.settings.repository_file import MAX_SIZE, ParsedFile, RepositoryFile, read_file

NAME = ".stager.yml"
EVERYTHING = frozenset(RepositoryFile.model_fields)
A_PATH = 'should be a path within the repository such as "web", not '


def read(text: str | bytes, allowed: frozenset[str] = EVERYTHING) -> ParsedFile:
    return read_file(text.encode() if isinstance(text, str) else text, NAME, allowed)


def problems(text: str | bytes, allowed: frozenset[str] = EVERYTHING) -> list[str]:
    """What is wrong with this file, as people read it."""
    with pytest.raises(Fault) as caught:
        read(text, allowed)
    fault = caught.value
    assert fault.reason == "repository-file-invalid"
    assert fault.message.startswith(f"{NAME} is invalid: ")
    assert fault.hint
    return fault.detail.splitlines()


class TestEveryKey:
    def test_all_of_them(self) -> None:
        said = read("""
            port: 8000
            command: bin/serve --now 'and here'
            health_path: /up
            env:
              RAILS_ENV: staging
              WORKERS: 2
              RATIO: 1.5
              VERSION: 1.10
              DEBUG: true
              EMPTY: ''
              GREETING: "hallo\\nWelt"
            build:
              context: web/app
              dockerfile: docker/Dockerfile
              target: runtime
              args: {NODE: 22, CI: true}
            hooks:
              after_launch: [bin/migrate, [bin/seed, --small data]]
              before_kill: bin/goodbye
            pictures:
              routes: [/, "/cart?full=1"]
              widths: [1280, 375]
              ignore:
                - {x: 0, y: 0, width: 300, height: 40}
                - {x: 10, y: 20, width: 30, height: 40, route: /, screen: 375}
        """)

        assert said.manifest == Manifest(
            port=8000,
            command=("bin/serve", "--now", "and here"),
            health_path="/up",
            variables={
                "RAILS_ENV": "staging",
                "WORKERS": "2",
                "RATIO": "1.5",
                "VERSION": "1.10",
                "DEBUG": "true",
                "EMPTY": "",
                "GREETING": "hallo\nWelt",
            },
            hooks=Hooks(
                (Hook(("bin/migrate",)), Hook(("bin/seed", "--small data"))), (Hook(("bin/goodbye",)),)
            ),
            pictures=PictureSpec(
                ("/", "/cart?full=1"), (1280, 375), (Box(0, 0, 300, 40), Box(10, 20, 30, 40, "/", 375))
            ),
        )
        assert said.recipe(Recipe()) == Recipe(
            "web/app", "docker/Dockerfile", "runtime", {"NODE": "22", "CI": "true"}
        )

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " \n",
            "# nothing yet\n",
            "---\n...\n",
            "{}",
            "~",
            "port:\ncommand:\nhealth_path:\nenv:\nbuild:\nhooks:\n",
            "hooks: {after_launch: '', before_kill: []}",
            b"\xef\xbb\xbf",
        ],
    )
    def test_none_of_them(self, text: str | bytes) -> None:
        assert read(text) == ParsedFile(EMPTY_MANIFEST, None)

    @pytest.mark.attack(
        "Proxies and BUILDKIT_* as build arguments in .stager.yml",
        profile="repository's own code",
        result="refused; only the configuration may set them",
    )
    @pytest.mark.parametrize(
        "name",
        [
            *("http_proxy", "HTTP_PROXY", "Http_Proxy", "https_proxy", "ftp_proxy", "no_proxy", "ALL_PROXY"),
            *("BUILDKIT_SYNTAX", "BUILDKIT_CACHE_MOUNT_NS", "BUILDKIT_X", "buildkit_syntax", "BUILDKIT_"),
        ],
    )
    def test_no_argument_that_decides_for_other_builds(self, name: str) -> None:
        said = f"line 2: build.args.{name}: can't be given here, only in the configuration"

        assert problems(f"build:\n  args: {{NODE: 22, {name}: x}}") == [said]

    def test_all_of_them_at_once(self) -> None:
        found = problems("build: {args: {http_proxy: x, HTTP_PROXY: y}}")

        assert [each.split(": ")[1] for each in found] == ["build.args.http_proxy", "build.args.HTTP_PROXY"]

    @pytest.mark.parametrize("name", ["PROXY", "HTTP_PROXY_HOST", "MY_HTTP_PROXY", "BUILDKIT"])
    def test_arguments_that_only_look_so(self, name: str) -> None:
        assert read(f"build: {{args: {{{name}: x}}}}").recipe(Recipe()).arguments == {name: "x"}

    def test_a_byte_order_mark_is_no_part_of_a_key(self) -> None:
        assert read(b"\xef\xbb\xbfport: 80").manifest.port == 80

    def test_windows_line_ends(self) -> None:
        assert read("port: 80\r\nenv:\r\n  A: b\r\n").manifest == Manifest(port=80, variables={"A": "b"})

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("a: &a {X: y}\nenv: *a", ["line 1: a: unknown key"]),
            (
                "build: {args: &a {X: [y]}}\nhooks: {before_kill: [&b [1], *b]}",
                [
                    "line 1: build.args.X: should be text, not a list",
                    "line 2: hooks.before_kill[0]: should be text or a list of texts, not a list",
                    "line 2: hooks.before_kill[1]: should be text or a list of texts, not a list",
                ],
            ),
            (
                "env: {A: &a [!x y]}\nhooks: {after_launch: *a}",
                [
                    "line 1: env.A[0]: has the tag !x, which isn't supported",
                    "line 2: hooks.after_launch[0]: has the tag !x, which isn't supported",
                ],
            ),
            ("env: &a {X: y}\nbuild: {args: *a}", []),
            ("env: {<<: {X: y}, Z: z}", []),
        ],
    )
    def test_anchors(self, given: str, said: list[str]) -> None:
        if said:
            assert problems(given) == said
        else:
            assert read(given).manifest.variables["X"] == "y"


class TestBuild:
    CONFIGURED = Recipe("app", "Dockerfile.prod", "web", {"A": "1", "B": "2"}, {"token": "hunter2"})

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("", {}),
            ("build:", {}),
            ("build: {}", {}),
            ("build: web", {"context": "web"}),
            ("build: .", {"context": "."}),
            ("build: web//./x/", {"context": "web/x"}),
            ("build: {dockerfile: Other}", {"dockerfile": "Other"}),
            ("build: {target: ''}", {"target": ""}),
            ("build: {context: .}", {"context": "."}),
            ("build: {args: {B: 3, C: 4}}", {"arguments": {"A": "1", "B": "3", "C": "4"}}),
        ],
    )
    def test_it_overrides_the_configuration(self, text: str, wanted: dict[str, Any]) -> None:
        whole: dict[str, Any] = {
            "context": "app",
            "dockerfile": "Dockerfile.prod",
            "target": "web",
            "arguments": {"A": "1", "B": "2"},
            **wanted,
        }
        assert read(text).recipe(self.CONFIGURED) == Recipe(**whole, secrets={"token": "hunter2"})

    @pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc", "..", "''", '"a\\nb"'])
    def test_leads_nowhere_else(self, path: str) -> None:
        [problem] = problems(f"build:\n  context: {path}")
        assert problem.startswith(f"line 2: build.context: {A_PATH}")

    @pytest.mark.parametrize("path", ["/etc", "..", "''", '"a\\nb"', "."])
    def test_a_dockerfile_is_a_relative_path(self, path: str) -> None:
        [problem] = problems(f"build:\n  dockerfile: {path}")
        assert problem.startswith("line 2: build.dockerfile: should be a path within the repository")

    def test_a_dockerfile_may_be_outside_of_the_context(self) -> None:
        said = read("build: {context: app, dockerfile: ../docker/web.Dockerfile}")
        assert said.recipe(Recipe()) == Recipe(context="app", dockerfile="../docker/web.Dockerfile")
        assert read("build: {dockerfile: ../web.Dockerfile}").recipe(Recipe(context="app")) == Recipe(
            context="app", dockerfile="../web.Dockerfile"
        )

    @pytest.mark.parametrize(
        "build", ["{context: app, dockerfile: ../../x}", "{context: ., dockerfile: ../x}"]
    )
    def test_but_not_outside_of_the_repository(self, build: str) -> None:
        [problem] = problems(f"build: {build}")
        assert "leads out of it" in problem

    @pytest.mark.parametrize("key", ["secrets", "timeout"])
    def test_hasnt_what_is_the_configurations_alone(self, key: str) -> None:
        assert problems(f"build: {{{key}: {{}}}}") == [f"line 1: build.{key}: unknown key"]


class TestForbidden:
    @pytest.mark.parametrize("key", sorted(EVERYTHING))
    def test_what_the_administrator_keeps(self, key: str) -> None:
        said = f"line 2: {key}: isn't allowed in this file by `repository_file_keys` in the configuration"

        assert problems(f"# mine\n{key}:", EVERYTHING - {key}) == [said]
        assert read("", EVERYTHING - {key}) == ParsedFile(EMPTY_MANIFEST, None)

    def test_nothing_may_be_set(self) -> None:
        assert len(problems("port: 80\nenv: {A: b}\nhooks: {}", frozenset())) == 3

    @pytest.mark.parametrize(
        "key",
        [
            "memory",
            "cpus",
            "image",
            "secrets",
            "forks",
            "container_create_params",
            "repository_file_keys",
            "server_hooks",
        ],
    )
    def test_what_only_the_configuration_has(self, key: str) -> None:
        [problem] = problems(f"{key}: 1")
        assert problem.startswith(f"line 1: {key}: belongs to the server's configuration")


class TestWrong:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                "pictures: [/]",
                "line 1: pictures: should be a mapping, not a list; write `pictures: {routes: [/, /cart]}`",
            ),
            ("pictures: {image: x}", "line 1: pictures.image: unknown key"),
            (
                "pictures: {routes: [cart]}",
                "line 1: pictures.routes[0]: should be the path of a page such as",
            ),
            (
                "pictures: {routes: [/a, /b, /c, /d, /e]}",
                "line 1: pictures.routes: has 5 values; at most 4 are possible",
            ),
            ("pictures: {widths: [100]}", "line 1: pictures.widths[0]: should be 200 at least, not 100"),
            (
                "pictures: {widths: [400, 500, 600]}",
                "line 1: pictures.widths: has 3 values; at most 2 are possible",
            ),
            (
                "pictures:\n  ignore:\n  - {x: 0, y: 0, width: 10}",
                "line 3: pictures.ignore[0].height: is required",
            ),
            ("pictures: {ignore: [.clock]}", "line 1: pictures.ignore[0]: should be a mapping, not text"),
            ("port: 80x", 'line 1: port: should be an integer such as 3000, not "80x"'),
            ("\n\nport: 0", "line 3: port: should be 1 at least, not 0"),
            ("port: 65536", "line 1: port: should be 65535 at most, not 65536"),
            ("port: true", "line 1: port: should be a number, not true"),
            ("port: [80]", "line 1: port: should be an integer such as 3000, not a list"),
            ("prot: 80", 'line 1: prot: unknown key; did you mean "port"?'),
            ("env:\n  A: b\n  C: [d]\n", "line 3: env.C: should be text, not a list"),
            ("env:\n  A:\n", "line 2: env.A: should be text, not null"),
            ("env: [A=b]", "line 1: env: should be a mapping, not a list"),
            ("env:\n  A: b\n  'C=D': e\n", 'line 3: env."C=D": isn\'t a valid name of a variable'),
            ("env: {'': x}", 'line 1: env."": isn\'t a valid name of a variable'),
            ("env: {A: 1, A: 2}", "line 1: env.A: is given twice, again at line 1"),
            ("health_path: up", 'line 1: health_path: should be a path such as "/health", not "up"'),
            ("health_path: '/a b'", 'line 1: health_path: should be a path such as "/health", not "/a b"'),
            ("command: 'a \"b'", "line 1: command: should be a command; no closing quotation, not"),
            ("command: [a, 1]", "line 1: command: should be text or a list of texts, not a list"),
            ("build: true", "line 1: build: should be a mapping"),
            ("build: [a]", "line 1: build: should be a mapping, not a list"),
            ("build:\n  args:\n    '': x", 'line 3: build.args."": isn\'t a valid name of a variable'),
            (
                "hooks:\n  after_launch:\n    - fine\n    - ''\n",
                "line 4: hooks.after_launch[1]: should be a command with a program",
            ),
            (
                "hooks:\n  after_launch:\n    - service: db\n",
                "line 3: hooks.after_launch[0].command: is required",
            ),
            (
                "hooks: {after_launch: {service: db, command: ''}}",
                "line 1: hooks.after_launch.command: should be a command with a program",
            ),
            (
                "hooks:\n  after_launch:\n    - fine\n    - {serivce: db, command: x}\n",
                'line 4: hooks.after_launch[1].serivce: unknown key; did you mean "service"?',
            ),
            (
                "hooks: {before_kill: [[]]}",
                "line 1: hooks.before_kill[0]: should be a command with a program",
            ),
            ("hooks: {before_kill: [1]}", "line 1: hooks.before_kill[0]: should be text or a list of texts"),
            (
                "hooks: {after_lunch: x}",
                'line 1: hooks.after_lunch: unknown key; did you mean "after_launch"?',
            ),
            ("hooks: x", "line 1: hooks: should be a mapping, not text"),
        ],
    )
    def test_with_its_line(self, text: str, said: str) -> None:
        [problem] = problems(text)
        assert problem.startswith(said)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("- port", "should be a mapping, not a list"),
            ("port", "should be a mapping, not text"),
            ("port: 80\n---\nport: 81", "line 2, column 1: but found another document"),
            ("env: [a\nport: 1", "line 2, column 5: expected ',' or ']', but got ':'"),
            ("env:\n\t- a", "line 2, column 1: found character '\\t' that cannot start any token"),
            ("env: *nobody", "line 1, column 6: found undefined alias 'nobody'"),
            ("port: \x01", "special characters are not allowed"),
            ("port: !ruby/object 1", "line 1: port: has the tag !ruby/object, which isn't supported"),
            ("port: !!python/name:os.system x", "line 1: port: should be an integer such as 3000, not "),
            ("env: &a {A: *a}", "line 1: env.A: contains itself"),
            ("? [a]\n: b", "has a key that isn't text, at line 1"),
            (r'env: {A: "\0"}', "line 1: env.A: has an invalid character"),
            (r'command: ["\ud800"]', "line 1: command[0]: has an invalid character"),
            ("env: " + "[" * 450 + "]" * 450, "is nested too deeply"),
            ("env: " + "{a: " * 450 + "}" * 450, "is nested too deeply"),
            ("port: " + "9" * 5_000, "line 1: port: should be an integer such as 3000, not "),
            ("env: {A: b}".encode("utf-16"), "isn't text in UTF-8"),
            ("env: {A: ü}".encode("latin-1"), "isn't text in UTF-8"),
            (b"#" * (MAX_SIZE + 1), "is larger than 32 KiB"),
        ],
        ids=range(19),
    )
    def test_what_isnt_such_a_file_at_all(self, text: str | bytes, said: str) -> None:
        [problem] = problems(text)
        assert problem.startswith(said)

    def test_as_large_as_may_be(self) -> None:
        assert read(b"#" * MAX_SIZE) == ParsedFile()

    def test_everything_is_reported_together(self) -> None:
        text = "port: 80x\nlimits: 1\nenv:\n  A: [b]\nhooks: {x: y}\n"
        told = problems(text, EVERYTHING - {"env"})

        assert [problem.split(": ")[0] for problem in told] == [
            "line 1",
            "line 2",
            "line 3",
            "line 4",
            "line 5",
        ]
        with pytest.raises(Fault, match="5 problems"):
            read(text, EVERYTHING - {"env"})

    def test_one_problem_is_in_the_sentence(self) -> None:
        with pytest.raises(Fault, match="is invalid: line 1: port: should be 1 at least, not 0"):
            read("port: 0")


class TestBombs:
    """A file of a few lines that would take the memory, or the day."""

    @pytest.mark.parametrize(
        "text",
        [
            "a0: &a0 [x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 30)),
            "a0: &a0 {x: y}\n"
            + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 8)}]}}\n" for n in range(1, 30)),
            "env: &a [*a, *a, *a, *a, *a, *a, *a, *a]",
            "? &a [" + "x, " * 50 + "]\n: &b {" + ", ".join(f"? *a : {n}" for n in range(50)) + "}",
            "&a [" + "*a, " * 8_000 + "]",
        ],
        ids=["lists", "merges", "itself", "keys", "often"],
    )
    def test_is_refused_at_once(self, text: str) -> None:
        assert problems(text)

    def test_many_unknown_keys(self) -> None:
        told = problems("".join(f"a{number}: b\n" for number in range(2_500)))
        assert told[99:] == ["line 100: a99: unknown key", "and 2400 more"]

    @pytest.mark.parametrize(
        "text",
        [
            "a: &a '" + "x " * 7_000 + "'\nhooks: {after_launch: [" + "*a, " * 4_000 + "]}",
            "a: &a [" + "!x y, " * 15 + "]\n? " + "k" * 16_000 + "\n: [" + "*a, " * 3_500 + "]",
        ],
        ids=["words", "problems"],
    )
    def test_that_says_something_long_often(self, text: str) -> None:
        assert problems(text) == ["has more than 1000000 characters, with aliases expanded"]

    def test_what_is_long_is_cut_in_messages(self) -> None:
        [problem] = problems(f"? {'k' * 9_000}\n: x")
        assert problem == f"line 1: {'k' * 60}…: unknown key".replace("…:", '…":').replace("1: k", '1: "k')
        [problem] = problems(f"env: *{'k' * 9_000}")
        assert len(problem) < 600


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*sorted(EVERYTHING), "context", "args", "target", "after_launch", "A", "<<", "prot"])
DOCUMENTS = st.recursive(
    VALUES | st.sampled_from([80, "/up", "bin/x --now", ["bin/x"], "web"]),
    lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)
LINES = st.lists(
    st.sampled_from(
        [
            *(
                f"{key}: {value}"
                for key in ("port", "env", "build", "hooks")
                for value in ("1", "*a", "&a", "{")
            ),
            *(
                "- x",
                "  A: b",
                "? *a",
                ": &a [",
                "}",
                "]",
                "<<: *a",
                "!!binary x",
                "---",
                '"\\ud800"',
                "| ",
                "%",
            ),
        ]
    ),
    max_size=8,
).map("\n".join)


@given(
    st.one_of(
        DOCUMENTS.map(lambda data: repr(data).encode("utf-8", "surrogatepass")),
        DOCUMENTS.map(lambda data: yaml.safe_dump(data).encode("utf-8", "surrogatepass")),
        LINES.map(str.encode),
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    ),
    st.frozensets(st.sampled_from(sorted(EVERYTHING))),
)
def test_any_file_says_something_or_is_a_fault(content: bytes, allowed: frozenset[str]) -> None:
    found = said_or_fault(content, allowed)
    if isinstance(found, Fault):
        assert found.reason == "repository-file-invalid"
        assert f"{found} {found.detail}".encode()
        return
    assert found.manifest == EMPTY_MANIFEST or allowed
    assert repr(found).encode()
    assert all(name and "=" not in name for name in found.manifest.variables)
    assert all(hook.command and hook.command[0] for hook in found.manifest.hooks.after_launch)


def said_or_fault(content: bytes, allowed: frozenset[str]) -> ParsedFile | Fault:
    try:
        return read_file(content, NAME, allowed)
    except Fault as fault:
        return fault
