"""The guide to previews with real data, executed as written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import MakeStager
from tests.integration.images import base_image, service_image
from tests.integration.stager import StagerUnderTest
from tests.integration.test_database_guide import copied, pattern
from tests.unit.docs.written import page_sample, typed

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "real-data.md"
PATIENCE = 300

pytestmark = pytest.mark.docker


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, list[str]]]:
    """The commands of the page, each with the lines below it."""
    samples = (
        page_sample("real-data.md", "$ stager snapshot create guestbook --restore"),
        page_sample("real-data.md", "$ git push stager main"),
        page_sample("real-data.md", '$ curl --silent --data "author=Eve'),
        page_sample("real-data.md", "$ stager snapshot create guestbook --from"),
    )
    return [command for sample in samples for command in typed(sample)]


def run(command: str, clone: Path, stager: StagerUnderTest, token: str) -> str:
    """What a command of the page prints; previews are at this Stager's port."""
    identity = {
        f"GIT_{who}_{what}": "a@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environ = os.environ | identity | {
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "STAGER_ENDPOINT": stager.url, "STAGER_TOKEN": token,
    }  # fmt: skip
    ran = subprocess.run(
        ["bash", "-ec", command.replace(":8000", f":{stager.port}")], cwd=clone, env=environ,
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, f"{command}\n{said}"
    return said.replace(f":{stager.port}", ":8000")


def test_as_written(make_stager: MakeStager, tmp_path: Path) -> None:
    base_image("python-build")
    clone = copied("guestbook-flask", tmp_path / "guestbook", "postgres", "redis", "maildev")
    configuration = yaml.safe_load(blocks("yaml")[0])
    assert configuration["images"]["guestbook"]["services"]["database"] == service_image("postgres")
    assert page_sample("real-data.md", "stager serve") == "stager serve\n"
    stager = make_stager(**{**configuration, "local_forge": str(tmp_path / "repositories")})
    (clone / "guestbook.sql").write_text(blocks("sql")[0])
    (clone / ".gitignore").write_text("guestbook.sql\nbase.tar\n")
    token = stager.api("/tokens", "POST", json={"label": "guide", "role": "developer"})["token"]
    begin = "git init -qb main && git add . && git commit -qm Guestbook"
    run(f"{begin} && git remote add stager ../repositories/guestbook.git", clone, stager, token)

    for command, lines in commands():
        said = run(command, clone, stager, token)
        for line in lines:
            assert re.search(pattern(line), said), f"{command}\n{line}\n{said}"
        assert "Ann Miller" not in said

    [left] = stager.api("/snapshots")
    assert (left["number"], left["is_current"]) == (1, True)
    kept = "the base is never changed by previews"
    assert subprocess.run(["tar", "-tf", clone / "base.tar"], check=True, capture_output=True), kept
