"""Which Dockerfile of a repository is the application's, and where it is built."""

from __future__ import annotations

import pytest

from stager.project.dockerfiles import find_dockerfiles, read_dockerfile
from tests.unit.project.conftest import MakeTree

PLAIN = 'FROM scratch\nCMD ["/x"]\n'


@pytest.mark.parametrize(
    ("paths", "first"),
    [
        (["Dockerfile", "docker/Dockerfile"], "Dockerfile"),
        (["Dockerfile.dev", "docker/Dockerfile"], "docker/Dockerfile"),
        (["Dockerfile.dev", "Dockerfile.prod"], "Dockerfile.prod"),
        (["docker/nginx/Dockerfile", "docker/php/Dockerfile"], "docker/php/Dockerfile"),
        (["worker.Dockerfile", "web.Dockerfile"], "web.Dockerfile"),
        (["docker/production/Dockerfile", "docker/local/Dockerfile"], "docker/production/Dockerfile"),
        (["deploy/build/Dockerfile"], "deploy/build/Dockerfile"),
    ],
)
def test_the_most_likely_is_first(tree: MakeTree, paths: list[str], first: str) -> None:
    found = find_dockerfiles(tree(dict.fromkeys(paths, PLAIN)))
    assert next(each.path for each in found) == first
    assert len(found) == len(paths)


@pytest.mark.parametrize(
    "path",
    [
        *(".devcontainer/Dockerfile", "tests/Dockerfile", "examples/a/Dockerfile", "vendor/x/Dockerfile"),
        *("Dockerfile.dockerignore", "Dockerfile.j2", "node_modules/x/Dockerfile", "docs/Dockerfile.md"),
    ],
)
def test_those_of_something_else_are_left_out(tree: MakeTree, path: str) -> None:
    assert find_dockerfiles(tree({path: PLAIN})) == ()


@pytest.mark.parametrize(
    ("files", "path", "context"),
    [
        ({"app.py": ""}, "docker/Dockerfile", "."),
        ({"docker/app.py": ""}, "docker/Dockerfile", "docker"),
        ({"docker/start.sh": "", "app.py": ""}, "docker/Dockerfile", "."),
        ({"web/app.py": "", "app.py": "", "web/package.json": "{}"}, "web/Dockerfile", "web"),
        ({"services/app.py": ""}, "services/api/Dockerfile", "services"),
    ],
)
def test_the_context_is_where_its_sources_are(
    tree: MakeTree, files: dict[str, str], path: str, context: str
) -> None:
    found = tree({**files, path: "FROM scratch\nCOPY --chown=1:1 app.py /x/\nCOPY --from=build /a /b\n"})
    [dockerfile] = find_dockerfiles(found)
    assert (dockerfile.context, dockerfile.missing) == (context, ())


def test_everything_is_copied(tree: MakeTree) -> None:
    text = "FROM scratch\nCOPY . .\n"
    found = tree({"web/Dockerfile": text, "web/package.json": "{}", "docker/Dockerfile": text})
    assert {each.path: each.context for each in find_dockerfiles(found)} == {
        "web/Dockerfile": "web",
        "docker/Dockerfile": ".",
    }


def test_what_a_dockerfile_says(tree: MakeTree) -> None:
    text = 'FROM a AS b\nCMD x\nFROM c\nCOPY ["gone *", "x", "/"]\nADD https://x/y $Z /\nEXPOSE 53/udp 80\n'
    found = read_dockerfile(tree({"x": "", "docker/Dockerfile": text}), "docker/Dockerfile")
    assert (found.port, found.has_command, found.missing) == (80, False, ("gone *",))
    assert (found.context, found.dockerfile) == (".", "docker/Dockerfile")
    assert read_dockerfile(tree({}), "docker/Dockerfile", "docker").dockerfile == "Dockerfile"
