"""`build: auto`: real applications without a Dockerfile, built by Docker's builder and asked for their page.

Ruby, PHP and Go aren't here, because their packages can't be had without their registries:
`tests/unit/project` compares the Dockerfiles of these.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from stager.domain.recipe import Recipe
from tests.contracts.builders import an_order, buildx_under_test, docker
from tests.integration.stager import until
from tests.unit.project.applications import BUILT, make

pytestmark = pytest.mark.docker

BASES = {
    "PYTHON_BASE": "stager-base/python-build:1",
    "NODE_BASE": "stager-base/node:1",
    "NODE_BUILD_BASE": "stager-base/node:1",
    "STATIC_BASE": "stager-base/static:1",
}
"""The images of `scripts/base-image.sh` instead of those of a registry, chosen as a user would: by `args`."""

PORT = 4321


@contextmanager
def container(image: str, *options: str) -> Iterator[str]:
    """A container of the image; its address."""
    made = docker("run", "--detach", "--label", "stager.test", *options, image)
    try:
        yield docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", made)
        print(docker("logs", made))
    finally:
        docker("rm", "--force", made)


def page(address: str, path: str = "/") -> str:
    try:
        return httpx.get(f"http://{address}:{PORT}{path}", trust_env=False, timeout=5).text
    except httpx.TransportError:
        return ""


@pytest.mark.parametrize("name", BUILT)
async def test_an_application_is_built_and_answers(tmp_path: Path, name: str) -> None:
    for base in BASES.values():
        if subprocess.run(["docker", "image", "inspect", base], capture_output=True, check=False).returncode:
            pytest.skip(f"there is no {base}: scripts/test makes it")
    (tmp_path / "tree").mkdir()
    tree = make(tmp_path / "tree", {**BUILT[name], ".env": "TOKEN=hunter2\n"}).root
    recipe = Recipe(auto=True, arguments=BASES)
    async with buildx_under_test(tmp_path) as buildx:
        lines: list[str] = []
        image = await buildx.builder.build(an_order(tree, recipe=recipe), lines.append)
        assert lines[0].startswith("No Dockerfile: generated one"), lines
        facts = await buildx.builder.facts(image)
        assert facts.first == facts.ports[-1]
        # As Stager runs it: another port than the Dockerfile's, and without rights.
        confined = ("--env", f"PORT={PORT}", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
        with container(image, *confined) as address:
            until(lambda: "it works" in page(address), f"{name} answers", 60)
            assert "hunter2" not in page(address, "/.env")
        found = docker("run", "--rm", "--network", "none", "--label", "stager.test", image, "id", "-u")
        assert found == "1000"


async def test_a_single_page_application_has_all_paths(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    tree = make(tmp_path / "tree", BUILT["vite"]).root
    async with buildx_under_test(tmp_path) as buildx:
        order = an_order(tree, recipe=Recipe(auto=True, arguments=BASES))
        image = await buildx.builder.build(order, print)
        with container(image, "--env", f"PORT={PORT}") as address:
            until(lambda: "it works" in page(address, "/cart/7"), "a path of its router is answered", 60)
