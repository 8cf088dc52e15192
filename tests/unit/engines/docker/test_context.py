"""A commit's symbolic links lead no build out of its tree."""

from __future__ import annotations

from pathlib import Path

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
