"""Applications that are built from source, and which pull requests get a preview: what may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.domain.application import Application
from stager.domain.pull_requests.rules import Rules
from stager.domain.recipe import Hook, Hooks, Recipe
from stager.settings.repository_file import RepositoryFile
from stager.settings.values.patterns import Pattern
from tests.unit.settings.conftest import LoadText, ProblemsOf


def application(load_text: LoadText, entry: str, **environ: str) -> Application:
    """The entry `shop` as control has it."""
    return load_text(f"images: {{shop: {{{entry}}}}}", **environ).settings.applications.get("shop")


class TestBuild:
    @pytest.mark.parametrize(
        ("entry", "recipe"),
        [
            ("build: ", Recipe()),
            ("build: true", Recipe()),
            ("build: {}", Recipe()),
            ("build: .", Recipe()),
            ("build: web/app", Recipe("web/app")),
            ("build: auto", Recipe(auto=True)),
            ("build: ./auto", Recipe("auto")),
            ("build: {auto: true, context: web}", Recipe("web", auto=True)),
            ("build: {context: web, dockerfile: docker/Dockerfile}", Recipe("web", "docker/Dockerfile")),
            ("build: {target: runtime}", Recipe(target="runtime")),
            ("build: {args: {NODE: 22, CI: true}}", Recipe(arguments={"NODE": "22", "CI": "true"})),
            ("build: {args: {T: '${TAG}'}}", Recipe(arguments={"T": "v1"})),
            ("build: {args: {http_proxy: 'http://p'}}", Recipe(arguments={"http_proxy": "http://p"})),
            ("build: {secrets: {npm: '${TOKEN}'}}", Recipe(secrets={"npm": "hunter2"})),
            ("build: {secrets: {npm: plain}}", Recipe(secrets={"npm": "plain"})),
        ],
    )
    def test_forms(self, load_text: LoadText, entry: str, recipe: Recipe) -> None:
        assert application(load_text, entry, TAG="v1", TOKEN="hunter2").build == recipe

    @pytest.mark.parametrize("entry", ["port: 80", "port: 80, build: false"])
    def test_none(self, load_text: LoadText, entry: str) -> None:
        built = application(load_text, entry)

        assert built.build is None
        assert not built.needs_commit

    def test_timeout(self, load_text: LoadText) -> None:
        assert application(load_text, "build: ").build_timeout == 1_800
        assert application(load_text, "build: {timeout: 5m}").build_timeout == 300

    def test_may_leave_the_port_to_the_repository(self, load_text: LoadText) -> None:
        assert application(load_text, "build: ").port is None
        assert application(load_text, "build: , port: 80").port == 80

    def test_a_repository_of_github_has_one_application(self, problems_of: ProblemsOf) -> None:
        text = "images: {{shop: {{build: ., {}}}, web: {{build: ., {}}}}}"
        for first, second in (("repo_owner: acme", "repo: Acme/shop"), ("repo: acme/x", "repo: acme/x")):
            [found] = problems_of(text.format(first, second))
            assert found.startswith("images.web.repo: is the repository of `images.shop` already")

    @pytest.mark.parametrize(
        "entry", ["repo: acme/shop", "repo_owner: acme", "repo: acme/shop, repo_owner: Acme"]
    )
    def test_its_repository_has_one_or_two_keys(self, load_text: LoadText, entry: str) -> None:
        found = application(load_text, f"build: ., {entry}")
        assert (found.owner, found.repository_name) == ("acme", "shop")

    @pytest.mark.parametrize("entry", ["", "image: shop", "image: 'shop:{sha}'", "build: false"])
    def test_without_it_the_port_is_required(self, problems_of: ProblemsOf, entry: str) -> None:
        assert problems_of(f"images: {{shop: {{{entry}}}}}") == ["images.shop.port: is required"]

    @pytest.mark.parametrize(
        ("entry", "problem"),
        [
            ("build: [a]", "images.shop.build: should be a mapping, not a list"),
            ("build: 1", "images.shop.build: should be a mapping, not a number"),
            (
                "build: ../x",
                'images.shop.build.context: should be a path within the repository such as "web"',
            ),
            ("build: {context: /x}", "images.shop.build.context: should be a path within the repository"),
            (
                "build: {dockerfile: ''}",
                "images.shop.build.dockerfile: should be a path within the repository",
            ),
            ("build: ., repo: shop", 'images.shop.repo: should be a repository such as "acme/shop"'),
            ("build: ., repo: acme/shop/x", "images.shop.repo: should be a repository"),
            (
                "build: ., repo: acme/shop, repo_owner: other",
                "images.shop.repo_owner: conflicts with `repo`, whose owner is acme; remove `repo_owner`",
            ),
            (
                "build: ., repo_owner: acme/shop",
                "images.shop.repo_owner: is the owner alone; write `repo: acme/shop` instead",
            ),
            (
                "build: ., repo_owner: https://github.com/acme/shop",
                "images.shop.repo_owner: is the owner alone; write `repo: acme/shop` instead",
            ),
            ("build: ., repo_owner: a/b/c", 'images.shop.repo_owner: should be an owner such as "acme"'),
            (
                "build: ., repo: 'git@github.com:acme/shop.git'",
                "images.shop.repo: should be a name without address; write `repo: acme/shop`",
            ),
            (
                "build: ., repo: 'https://ann:hunter2@github.com/acme/shop.git'",
                "images.shop.repo: should be a name without address; write `repo: acme/shop`",
            ),
            ("build: {context: a, dockerfile: ../../x}", "images.shop.build.dockerfile: should be a path"),
            (
                "build: {dokcerfile: x}",
                'images.shop.build.dokcerfile: unknown key; did you mean "dockerfile"?',
            ),
            (
                "build: {auto: true, dockerfile: x}",
                "images.shop.build.dockerfile: conflicts with `auto`, which finds the Dockerfile",
            ),
            ("build: {auto: 'yes'}", "images.shop.build.auto: should be true or false"),
            ("build: {timeout: 0}", "images.shop.build.timeout: should be more than 0"),
            ("build: {args: [a]}", "images.shop.build.args: should be a mapping, not a list"),
            (
                "build: {args: {'A=B': c}}",
                'images.shop.build.args."A=B": isn\'t a valid name of a variable',
            ),
            ("build: {secrets: {a: [hunter2]}}", "images.shop.build.secrets.a: should be text"),
        ],
    )
    def test_what_is_refused(self, problems_of: ProblemsOf, entry: str, problem: str) -> None:
        [found] = problems_of(f"images: {{shop: {{{entry}}}}}")
        assert found.startswith(problem)
        assert "hunter2" not in found


class TestImage:
    @pytest.mark.parametrize(
        ("entry", "image"),
        [
            ("port: 80", "shop"),
            ("port: 80, image: 'r.example.org/shop:{sha}'", "r.example.org/shop:{sha}"),
            ("port: 80, image: 'shop-{sha}:latest'", "shop-{sha}:latest"),
        ],
    )
    def test_may_name_the_commit(self, load_text: LoadText, entry: str, image: str) -> None:
        found = application(load_text, f"{entry}, image_timeout: 5m")

        assert found.image == image
        assert found.needs_commit is ("{sha}" in image)
        assert found.image_timeout == 300

    @pytest.mark.parametrize("image", ["shop:{ref}", "shop:{{sha}}", "{sha}:", "shop:{sha}{"])
    def test_nothing_else(self, problems_of: ProblemsOf, image: str) -> None:
        [found] = problems_of(f"images: {{shop: {{port: 80, image: '{image}'}}}}")
        assert found.startswith("images.shop.image: should be an image reference")


class TestSecrets:
    """What code from forks doesn't get."""

    def test_what_only_refers_to_a_value_is_one(self, load_text: LoadText, tmp_path: Path) -> None:
        entry = "port: 80, env: {A: plain, B: '${TOKEN}', C: 'file:token', D: 'https://x:${TOKEN}@y', E: 1}"
        (tmp_path / "token").write_text("from a file\n")
        found = application(load_text, entry, TOKEN="hunter2")

        assert found.variables == {"A": "plain", "E": "1"}
        assert found.secrets == {"B": "hunter2", "C": "from a file", "D": "https://x:hunter2@y"}

    def test_a_default_is_one_as_well(self, load_text: LoadText) -> None:
        assert application(load_text, "port: 80, env: {A: '${NO:-x}'}").secrets == {"A": "x"}

    def test_are_named_as_such(self, load_text: LoadText) -> None:
        found = application(load_text, "port: 80, env: {A: x}, secrets: {B: y, A: z}")

        assert (found.variables, found.secrets) == ({"A": "x"}, {"B": "y", "A": "z"})
        assert "secrets" not in repr(found)

    @pytest.mark.parametrize("key", ["env", "secrets"])
    def test_have_names(self, problems_of: ProblemsOf, key: str) -> None:
        found = problems_of(f"images: {{shop: {{port: 80, {key}: {{'': x, 'A=B': y}}}}}}")
        assert found == [
            f'images.shop.{key}."": isn\'t a valid name of a variable',
            f'images.shop.{key}."A=B": isn\'t a valid name of a variable',
        ]


class TestHooks:
    @pytest.mark.parametrize(
        ("written", "hooks"),
        [
            ("{}", Hooks()),
            ("{after_launch: bin/seed --small}", Hooks((Hook(("bin/seed", "--small")),))),
            ("{after_launch: [bin/a, [bin/b, 'c d']]}", Hooks((Hook(("bin/a",)), Hook(("bin/b", "c d"))))),
            ("{before_kill: bin/bye}", Hooks(before_kill=(Hook(("bin/bye",)),))),
            ("{before_kill: ''}", Hooks()),
            (
                "{after_launch: {service: db, command: createdb x}}",
                Hooks((Hook(("createdb", "x"), "db"),)),
            ),
            (
                "{after_launch: [bin/a, {command: [bin/b, 'c d']}, {service: jobs, command: bin/c}]}",
                Hooks((Hook(("bin/a",)), Hook(("bin/b", "c d")), Hook(("bin/c",), "jobs"))),
            ),
        ],
    )
    def test_forms(self, load_text: LoadText, written: str, hooks: Hooks) -> None:
        assert application(load_text, f"port: 80, hooks: {written}").hooks == hooks

    @pytest.mark.parametrize("written", ["['']", "[[]]", "[[''  , a]]"])
    def test_have_a_program(self, problems_of: ProblemsOf, written: str) -> None:
        [found] = problems_of(f"images: {{shop: {{port: 80, hooks: {{after_launch: {written}}}}}}}")
        assert found.startswith("images.shop.hooks.after_launch[0]: should be a command with a program")


class TestPullRequests:
    def test_none_are_left_out_but_those_of_bots(self, load_text: LoadText) -> None:
        found = application(load_text, "port: 80")

        assert found.rules == Rules()
        assert found.forks == "approve"
        assert found.repository_file == ".stager.yml"
        assert found.repository_file_keys == RepositoryFile.model_fields.keys()

    def test_every_rule(self, load_text: LoadText) -> None:
        rules = """{labels: preview, without_labels: [wip, stale], title: '^feat',
            without_title: '(?i)^wip', paths: [web/*, '*.css'],
            authors: ann, bases: [main, release/*], drafts: false, bots: true, wait_for_checks: true}"""

        assert application(load_text, f"port: 80, pull_requests: {rules}").rules == Rules(
            labels=("preview",),
            without_labels=("wip", "stale"),
            title=Pattern("^feat"),
            without_title=Pattern("(?i)^wip"),
            paths=("web/*", "*.css"),
            authors=("ann",),
            bases=("main", "release/*"),
            drafts=False,
            bots=True,
            wait_for_checks=True,
        )

    def test_what_a_repository_may_say(self, load_text: LoadText) -> None:
        assert application(
            load_text, "build: , repository_file_keys: [port, hooks]"
        ).repository_file_keys == {
            "port",
            "hooks",
        }
        assert application(load_text, "build: , repository_file_keys: []").repository_file_keys == frozenset()
        assert application(load_text, "build: , repository_file: ''").repository_file == ""

    @pytest.mark.parametrize(
        ("entry", "problem"),
        [
            (
                "pull_requests: {title: '('}",
                "images.shop.pull_requests.title: should be a regular expression of RE2,",
            ),
            ("pull_requests: {drafts: perhaps}", "images.shop.pull_requests.drafts: should be true or false"),
            (
                "pull_requests: {lables: x}",
                'images.shop.pull_requests.lables: unknown key; did you mean "labels"?',
            ),
            ("pull_requests: {labels: {a: b}}", "images.shop.pull_requests.labels: should be a list"),
            ("forks: never", 'images.shop.forks: should be "off", "approve" or "open", not "never"'),
            ("repository_file_keys: [limits]", "images.shop.repository_file_keys[0]: should be "),
        ],
    )
    def test_what_is_refused(self, problems_of: ProblemsOf, entry: str, problem: str) -> None:
        [found] = problems_of(f"images: {{shop: {{port: 80, {entry}}}}}")
        assert found.startswith(problem)
