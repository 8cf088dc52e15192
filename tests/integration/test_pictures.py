"""Pictures of previews on real Docker, by a confined browser."""

from __future__ import annotations

import subprocess
from typing import Any

import httpx
import pytest

from tests.integration.conftest import MakeStager
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, until

BROWSER = "stager-base/chromium:1"


@pytest.fixture
def browser() -> str:
    inspect = ["docker", "image", "inspect", BROWSER]
    if subprocess.run(inspect, capture_output=True, check=False).returncode:
        pytest.skip("no image with a browser: scripts/base-image.sh chromium makes it")
    return BROWSER


def album_of(stager: StagerUnderTest, name: str) -> dict[str, Any]:
    path = f"/environments/{stager.environment(name)['id']}/pictures"

    def taken() -> dict[str, Any] | None:
        found: dict[str, Any] = stager.api(path)
        return found if found["deployment"] else None

    return until(taken, "the pictures are taken")


def test_a_live_preview_gets_pictures_which_go_with_it(make_stager: MakeStager, browser: str) -> None:
    stager = make_stager(pictures={"image": browser, "widths": [800, 375]})
    stager.launched("first")
    album = album_of(stager, "first")
    assert [(each["width"], each["status"], each["failed"]) for each in album["pictures"]] == [
        (800, 200, ""),
        (375, 200, ""),
    ]
    path = album["pictures"][0]["path"].removeprefix("/api/v1")
    answer = httpx.get(f"{stager.url}/api/v1{path}", auth=(USER, PASSWORD))
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert stager.kill("first").text == "ok"
    folder = stager.state / "pictures"
    until(lambda: not list(folder.iterdir()), "the pictures are removed")


def test_without_the_image_the_reason_is_shown(make_stager: MakeStager) -> None:
    stager = make_stager(pictures={"image": "stager-base/no-such-browser:1"})
    stager.launched("first")
    assert album_of(stager, "first")["reason"] == "browser-missing"
