"""A commit's symbolic links lead no build out of its tree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from stager.engines.docker.build.build_context import locate


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "web" / "docker").mkdir(parents=True)
    (tree / "Dockerfile").write_text("FROM a\n")
    (tree / "web" / "docker" / "Preview.Dockerfile").write_text("FROM b\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "Dockerfile").write_text("FROM c\n")
    return tree


def refusal(tree: Path, recipe: Recipe) -> Fault:
    with pytest.raises(Fault) as caught:
        locate(tree, recipe)
    return caught.value


def test_the_root(tree: Path) -> None:
    found = locate(tree, Recipe())

    assert (found.folder, found.dockerfile) == (tree.resolve(), tree.resolve() / "Dockerfile")


def test_the_dockerfile_is_sought_from_the_context(tree: Path) -> None:
    below = locate(tree, Recipe(context="web", dockerfile="docker/Preview.Dockerfile"))
    above = locate(tree, Recipe(context="./web/", dockerfile="../Dockerfile"))

    assert below.dockerfile == tree.resolve() / "web" / "docker" / "Preview.Dockerfile"
    assert (above.folder.name, above.dockerfile) == ("web", tree.resolve() / "Dockerfile")


def test_links_within_the_tree_are_followed(tree: Path) -> None:
    (tree / "app").symlink_to("web")
    (tree / "web" / "Dockerfile").symlink_to("../Dockerfile")

    found = locate(tree, Recipe(context="app"))

    assert (found.folder, found.dockerfile) == (tree.resolve() / "web", tree.resolve() / "Dockerfile")


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(context=".."),
        Recipe(context="/"),
        Recipe(context="web/../../outside"),
        Recipe(dockerfile="../outside/Dockerfile"),
        Recipe(dockerfile="/etc/passwd"),
        Recipe(context="away"),
        Recipe(context="web", dockerfile="Dockerfile.away"),
        Recipe(dockerfile="away/Dockerfile"),
        Recipe(context="loop"),
        Recipe(dockerfile="zero\0byte"),
    ],
)
def test_whatever_leads_out_of_it_is_refused(tree: Path, recipe: Recipe) -> None:
    (tree / "away").symlink_to("../outside")
    (tree / "web" / "Dockerfile.away").symlink_to("/etc/passwd")
    (tree / "loop").symlink_to("loop")

    fault = refusal(tree, recipe)

    assert fault.reason == "build-refused"
    assert "inside" in fault.hint


def test_a_dockerfile_that_is_missing(tree: Path) -> None:
    fault = refusal(tree, Recipe(context="web"))

    assert fault.reason == "dockerfile-missing"
    assert fault.message == 'The Dockerfile "Dockerfile" doesn\'t exist in "web" in this commit.'
    assert "Found: Dockerfile, web/docker/Preview.Dockerfile." in fault.hint


def test_a_folder_that_is_missing(tree: Path) -> None:
    fault = refusal(tree, Recipe(context="frontend"))

    assert (fault.reason, '"frontend"' in fault.message) == ("dockerfile-missing", True)


def test_nothing_like_a_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.dockerignore").write_text("*\n")

    assert "has no Dockerfile" in refusal(tmp_path, Recipe()).hint


class TestAuto:
    """`build: auto`: another Dockerfile of the context, or a generated one."""

    AUTO = Recipe(auto=True)
    FLASK: ClassVar = {
        "requirements.txt": "flask\n",
        "app.py": "from flask import Flask\napp = Flask(__name__)\n",
    }
    VITE: ClassVar = {
        "package.json": '{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "1"}}'
    }

    @staticmethod
    def make(tmp_path: Path, files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "commit" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return (tmp_path / "commit").resolve()

    def test_the_contexts_own_dockerfile_is_used(self, tree: Path) -> None:
        found = locate(tree, self.AUTO)
        assert (found.dockerfile, found.note_lines) == (tree.resolve() / "Dockerfile", ())

    def test_another_dockerfile_is_found(self, tmp_path: Path) -> None:
        root = self.make(tmp_path, {**self.FLASK, "docker/Dockerfile": "FROM a\nCOPY app.py /\n"})
        found = locate(root, self.AUTO)
        assert (found.folder, found.dockerfile) == (root, root / "docker" / "Dockerfile")
        assert found.note_lines == ('Found docker/Dockerfile, built in the folder "." (build: auto)',)

    def test_one_is_generated(self, tmp_path: Path) -> None:
        root = self.make(tmp_path, {**self.FLASK, "Dockerfile.dev": "FROM a\n"})
        found = locate(root, self.AUTO)
        (written := tmp_path / "build").mkdir()
        context = found.written(written)
        assert context.folder == root
        assert context.dockerfile.read_text() == found.text
        assert "app:app" in found.text
        assert ".git" in (written / "Dockerfile.dockerignore").read_text().split()
        assert sorted(path.name for path in root.iterdir()) == [
            "Dockerfile.dev",
            "app.py",
            "requirements.txt",
        ]
        assert found.note_lines[1:] == tuple(found.text.splitlines())

    def test_a_generated_one_declares_the_build_arguments_in_each_stage(self, tmp_path: Path) -> None:
        root = self.make(tmp_path, self.VITE)
        recipe = replace(
            self.AUTO,
            arguments={"NODE_BASE": "node:1", "VITE_A": "given"},
            variables={"VITE_A": "variable", "VITE_B": "variable"},
        )
        found = locate(root, recipe)
        stages = found.text.split("\nFROM ")[1:]
        assert len(stages) == 2
        assert all("\nARG VITE_A\nARG VITE_B\n" in stage for stage in stages)
        assert found.text.count("ARG NODE_BASE") == 1, "the base image has its own line"
        assert found.ordered(recipe).arguments == {
            "NODE_BASE": "node:1",
            "VITE_A": "given",
            "VITE_B": "variable",
        }

    def test_another_dockerfile_gets_no_variables(self, tmp_path: Path) -> None:
        root = self.make(tmp_path, {**self.VITE, "docker/Dockerfile": "FROM a\nARG VITE_B\n"})
        recipe = replace(self.AUTO, variables={"VITE_B": "variable"})
        assert locate(root, recipe).ordered(recipe).arguments == {}

    def test_the_health_path_is_that_of_the_framework(self, tmp_path: Path) -> None:
        laravel = {
            "composer.json": '{"require": {"laravel/framework": "^11"}}',
            "artisan": "",
            "public/index.php": "",
            "bootstrap/app.php": "->withRouting(health: '/up')",
        }
        root = self.make(tmp_path, laravel)
        assert locate(root, self.AUTO).health_path == "/up"
        (root / "Dockerfile").write_text("FROM a\n")
        assert locate(root, self.AUTO).health_path == ""

    def test_a_dockerignore_of_the_repository_applies(self, tmp_path: Path) -> None:
        root = self.make(tmp_path, {**self.FLASK, ".dockerignore": "x\n"})
        (written := tmp_path / "build").mkdir()
        locate(root, self.AUTO).written(written)
        assert [path.name for path in written.iterdir()] == ["Dockerfile"]

    def test_several_applications(self, tmp_path: Path) -> None:
        parts = {f"api/{name}": text for name, text in self.FLASK.items()}
        root = self.make(tmp_path, {**parts, **{f"web/{name}": text for name, text in self.VITE.items()}})
        fault = refusal(root, self.AUTO)
        assert fault.reason == "application-ambiguous"
        assert "api (Flask), web (Vite)" in fault.message
        assert locate(root, Recipe(context="web", auto=True)).folder == root / "web"

    def test_an_application_of_a_workspace_is_built_at_its_root(self, tmp_path: Path) -> None:
        files = {
            "package.json": '{"workspaces": ["apps/*"]}',
            "package-lock.json": "{}",
            "apps/web/package.json": self.VITE["package.json"],
        }
        root = self.make(tmp_path, files)
        for recipe in (self.AUTO, replace(self.AUTO, context="apps/web")):
            found = locate(root, recipe)
            assert found.folder == root
            assert "cd apps/web && npm run build" in found.text

    def test_nothing_is_detected(self, tmp_path: Path) -> None:
        root = self.make(tmp_path, {"README": ""})
        assert refusal(root, self.AUTO).reason == "dockerfile-missing"

    def test_a_named_dockerfile_must_exist(self, tmp_path: Path) -> None:
        root = self.make(tmp_path, self.FLASK)
        recipe = Recipe(dockerfile="web.Dockerfile", auto=True)
        assert refusal(root, recipe).reason == "dockerfile-missing"
