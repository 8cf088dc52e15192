"""The Dockerfile that is generated for Next.js, with its packages from npm: it takes minutes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.recipe import Recipe
from tests.contracts.builders import an_order, buildx_under_test
from tests.integration.stager import until
from tests.integration.test_generated_dockerfiles import BASES, PORT, container, page
from tests.unit.project.applications import COMPARED, make

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get("STAGER_SOAK"), reason="takes many minutes: scripts/soak runs it"),
]

PAGE = "export default function Page() { return <p>it works for {process.env.NEXT_PUBLIC_API_URL}</p> }\n"
ADDRESS = "https://api.example.org"
SECONDS = 900.0


async def test_a_page_has_the_variable_of_its_build(tmp_path: Path) -> None:
    files = {**COMPARED["next"], "app/page.js": PAGE}
    del files["package-lock.json"]  # without versions: it stands for a real one
    (tmp_path / "tree").mkdir()
    tree = make(tmp_path / "tree", files).root
    bases = {**BASES, "NODE_BUILD_BASE": "stager-base/node-build:1"}
    recipe = Recipe(auto=True, arguments=bases, variables={"NEXT_PUBLIC_API_URL": ADDRESS})
    async with buildx_under_test(tmp_path) as buildx:
        order = replace(an_order(tree, recipe=recipe), timeout=SECONDS)
        image = await buildx.builder.build(order, print)
        with container(image, "--env", f"PORT={PORT}", "--cap-drop", "ALL") as address:
            until(lambda: ADDRESS in page(address), "Next.js answers", 60)
