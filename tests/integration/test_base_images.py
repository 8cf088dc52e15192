"""What the base images are for: package managers work in builds, and need no network to install a folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from stager.domain.recipe import Recipe
from tests.contracts.builders import an_order, buildx_under_test, docker

pytestmark = pytest.mark.docker

SETUP = 'from setuptools import setup\nsetup(name="lantern", version="1.0", py_modules=["lantern"])\n'
PIP = """FROM stager-base/python-build:1
COPY setup.py lantern.py /package/
RUN pip install --no-index --no-build-isolation /package
CMD ["python3", "-c", "import lantern"]
"""
NPM = """FROM stager-base/node:1
COPY package.json /package/
RUN npm install --offline --no-audit --no-fund --install-links /package
CMD ["node", "-p", "require('lantern/package.json').version"]
"""


NATIVE = """FROM stager-base/node-build:1 AS build
COPY . /app/
RUN npm install --offline --no-audit --no-fund
FROM stager-base/node:1
COPY --from=build /app /app
CMD ["node", "-p", "require('./build/Release/lantern.node').light"]
"""
BINDING = '{"targets": [{"target_name": "lantern", "sources": ["lantern.cc"]}]}'
ADDON = """#include <node_api.h>
#include <string>
napi_value Init(napi_env env, napi_value exports) {
  std::string text = std::string("it ") + "glows";
  napi_value light;
  napi_create_string_utf8(env, text.c_str(), text.size(), &light);
  napi_set_named_property(env, exports, "light", light);
  return exports;
}
NAPI_MODULE(NODE_GYP_MODULE_NAME, Init)
"""


async def output(tmp_path: Path, base: str, files: dict[str, str]) -> str:
    """What a container of the image prints that is built of these files."""
    if subprocess.run(["docker", "image", "inspect", base], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no {base}: scripts/test makes it")
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, text in files.items():
        (tree / name).write_text(text)
    async with buildx_under_test(tmp_path) as buildx:
        image = await buildx.builder.build(an_order(tree, recipe=Recipe()), print)
        return docker("run", "--rm", "--network", "none", "--label", "stager.test", image)


async def test_pip_installs(tmp_path: Path) -> None:
    files = {"Dockerfile": PIP, "setup.py": SETUP, "lantern.py": 'print("it glows")\n'}

    assert await output(tmp_path, "stager-base/python-build:1", files) == "it glows"


async def test_npm_installs(tmp_path: Path) -> None:
    package = json.dumps({"name": "lantern", "version": "1.0.0"})
    found = await output(tmp_path, "stager-base/node:1", {"Dockerfile": NPM, "package.json": package})

    assert found == "1.0.0"


async def test_npm_compiles_a_native_module_offline(tmp_path: Path) -> None:
    """npm runs node-gyp for a folder with a `binding.gyp`, with the image's own headers."""
    package = json.dumps({"name": "lantern", "version": "1.0.0", "gypfile": True})
    files = {"Dockerfile": NATIVE, "package.json": package, "binding.gyp": BINDING, "lantern.cc": ADDON}
    found = await output(tmp_path, "stager-base/node-build:1", files)

    assert found == "it glows"
