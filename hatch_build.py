"""Build hooks: compile the front's hot modules with mypyc, and complete the package's metadata.

Environment variables:
    STAGER_COMPILED: `auto` (default) compiles where a C compiler and Python's headers are available, `on`
        fails without them, `off` builds a wheel of Python alone, for every platform.
    STAGER_REPOSITORY_URL: where the repository is published. The README's links and the project's URLs lead
        there. Without it the wheel has no URLs, and the README's links to other files become plain text.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

SOURCE = "src"
COMPILED = (
    *(
        f"stager/front/http/{name}.py"
        for name in (
            "body",
            "cookies",
            "fields",
            "forwarded",
            "head",
            "headers",
            "lru_cache",
            "request_parser",
            "response_parser",
            "visitors",
        )
    ),
    *(
        f"stager/front/proxy/{name}.py"
        for name in (
            "access_log",
            "backends",
            "client_connection",
            "context",
            "downstream",
            "exchange",
            "held",
            "probe_request",
            "upstream",
        )
    ),
    "stager/front/table/live_table.py",
)
"""The modules that every proxied request passes through."""

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!https?://|#)(?P<path>[^)\s]+)\)")


class CompiledFront(BuildHookInterface[Any]):
    """Adds the compiled modules to the wheel, beside their sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the wheel only refers to the sources."""
        wanted = os.environ.get("STAGER_COMPILED", "auto")
        if wanted not in {"auto", "on", "off"}:
            raise ValueError(f"STAGER_COMPILED={wanted} has to be auto, on or off.")
        if version == "editable" or wanted == "off":
            return
        if lack := _lack():
            if wanted == "on":
                raise RuntimeError(f"The front can't be compiled: {lack}.")
            self.app.display_warning(f"The front isn't compiled, which costs processor time: {lack}.")
            return
        self._folder = Path(tempfile.mkdtemp(prefix="stager-compiled-"))
        for built in compile_into(self._folder, Path(self.root) / SOURCE):
            build_data["force_include"][str(self._folder / built)] = str(built)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary files."""
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder, ignore_errors=True)


class Metadata(MetadataHookInterface):
    """The project's URLs, and the README as it is shown outside the repository."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add them."""
        url = os.environ.get("STAGER_REPOSITORY_URL", "").rstrip("/")
        version = re.search('__version__ = "(.*)"', (Path(self.root) / "src/stager/version.py").read_text())
        assert version is not None  # noqa: S101 (the build reads the version from there)
        tree = f"{url}/blob/v{version[1]}" if url else ""
        readme = (Path(self.root) / "README.md").read_text()
        metadata["readme"] = {"content-type": "text/markdown", "text": with_links_to(tree, readme)}
        metadata["urls"] = (
            {
                "Source": url,
                "Documentation": f"{tree}/docs/index.md",
                "Changelog": f"{tree}/CHANGELOG.md",
                "Issues": f"{url}/issues",
            }
            if url
            else {}
        )


def with_links_to(tree: str, readme: str) -> str:
    """Return the README with links to files of the repository below `tree`, a URL; without such links if that
    is empty."""

    def link(found: re.Match[str]) -> str:
        if not tree:
            return "" if found["image"] else found["text"]
        target = tree.replace("/blob/", "/raw/") if found["image"] else tree
        return f"{found['image']}[{found['text']}]({target}/{found['path']})"

    return LINK.sub(link, readme)


def compile_into(folder: Path, source: Path) -> list[Path]:
    """Compile the modules; returns the extension modules, relative to `folder`.

    Args:
        source: the folder of the package.
    """
    from mypyc.build import mypycify  # noqa: PLC0415 (neither is there where nothing is compiled)
    from setuptools import Distribution  # noqa: PLC0415

    before = Path.cwd()
    os.chdir(source)  # mypy derives a module's name from its relative path
    try:
        modules = mypycify(
            ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent", *COMPILED],
            opt_level="3",
            group_name="stager_front",
            target_dir=str(folder / "c"),
        )
        command = Distribution({"name": "stager", "ext_modules": modules}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    lib = folder / "lib"
    for built in sorted(lib.rglob("*.so")):
        target = folder / built.relative_to(lib)
        target.parent.mkdir(parents=True, exist_ok=True)
        built.rename(target)
    return sorted(path.relative_to(folder) for path in folder.rglob("*.so"))


def _lack() -> str:
    """What is missing to compile; empty if nothing is."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if not shutil.which(compiler):
        return f"there is no C compiler ({compiler})"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return f"the headers of Python {sys.version_info.major}.{sys.version_info.minor} are missing"
    for module in ("mypyc", "setuptools"):
        if importlib.util.find_spec(module) is None:
            return f"the Python package {module.replace('mypyc', 'mypy')} isn't installed"
    return ""
