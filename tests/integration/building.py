"""A Stager that builds an application, and a user who pushes to its repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.stager import StagerUnderTest, until
from tests.local_forge.workshop import Clone

DOCKERFILE = """\
FROM stager-base/static:1
COPY site /site
EXPOSE 8080
CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]
"""
PAGE = "site/index.html"


class Rig:
    """A Stager that builds one application, `shop`, and a user who pushes to its repository."""

    def __init__(self, stager: StagerUnderTest, clone: Clone) -> None:
        self.stager, self.clone = stager, clone

    def branch(self, name: str, files: dict[str, str] | None = None) -> str:
        """Push a branch with these files besides those that make a page which says its name."""
        self.clone.git("checkout", "--quiet", "-B", name, "main")
        return self.push(name, {"Dockerfile": DOCKERFILE, PAGE: name} | (files or {}))

    def push(self, name: str, files: dict[str, str]) -> str:
        for path, content in files.items():
            (self.clone.folder / path).parent.mkdir(exist_ok=True)
            sha = self.clone.commit(path, content)
        self.clone.push("--force", name)
        return sha

    def shows(self, name: str, text: str) -> None:
        """Wait until the preview of this name shows this."""
        until(lambda: self.stager.get(name).text == text, f"{name} shows {text!r}", 120)

    def deployments(self, name: str) -> list[dict[str, Any]]:
        """Newest first."""
        environment = self.stager.environment(name)["id"]
        found: list[dict[str, Any]] = self.stager.api(f"/environments/{environment}/deployments")
        return found

    def built(self) -> int:
        """How often a build was begun."""
        return self.stager.log.read_text().count('"build_started"')


MakeRig = Any


@pytest.fixture
def make_rig(make_stager: MakeStager, tmp_path: Path) -> MakeRig:
    """Makes one, with the keys of the application that are given."""

    def make(**app: Any) -> Rig:
        bare = tmp_path / "git" / "shop.git"
        given = {key: value for key, value in {"build": ".", **app}.items() if value is not None}
        stager = make_stager(local_forge=str(bare.parent), images={"shop": given})
        clone = Clone(tmp_path / "clone", bare)
        clone.push("main")
        return Rig(stager, clone)

    return make
