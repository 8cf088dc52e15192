"""What `stager up` builds and runs, as `preparation` has decided."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY_FILE = ".stager.yml"
NAMES = (REPOSITORY_FILE, ".stager.yaml")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is built and run.

    Args:
        application: the entry under `images:`.
        environ: the values that it refers to.
        forced: what replaces keys of the repository file, because an option says so.
        generated: files that are generated, by their path.
        notes: what to tell the user, one sentence each.
        default_command: see `RunChoice`.
    """

    application: Mapping[str, Any]
    environ: Mapping[str, str] = field(repr=False)
    forced: Mapping[str, Any]
    generated: Mapping[str, bytes]
    notes: tuple[str, ...]
    default_command: str = ""

    def overlay(self, folder: Path) -> dict[str, bytes]:
        """Return the files that replace those of the folder."""
        files = {path: text for path, text in self.generated.items() if not (folder / path).exists()}
        if self.forced:
            name, content = repository_file(folder)
            with suppress(yaml.YAMLError, ValueError):  # the server reports it
                data = yaml.safe_load(content) or {}
                if isinstance(data, dict):
                    files[name or REPOSITORY_FILE] = yaml.safe_dump(_merged(data, self.forced)).encode()
        return files


def repository_file(folder: Path) -> tuple[str, bytes]:
    """Return the name and the content of the folder's repository file; empty without one."""
    for name in NAMES:
        with suppress(OSError):
            return name, (folder / name).read_bytes()
    return "", b""


def _merged(data: dict[Any, Any], forced: Mapping[str, Any]) -> dict[Any, Any]:
    build = data.get("build")
    old = build if isinstance(build, dict) else {}
    return {**data, **forced, **({"build": {**old, **forced["build"]}} if "build" in forced else {})}
