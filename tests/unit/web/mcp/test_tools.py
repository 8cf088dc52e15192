"""The tools of `/mcp`, called by the Python SDK."""

from __future__ import annotations

import json

import pytest

from tests.unit.web.harness import WebHarness
from tests.unit.web.mcp.client import call, connected, refused

MOST_BYTES = 10_000


async def launch(web: WebHarness, name: str = "feature") -> str:
    answer = await web.ask(
        "POST", "/api/v1/environments", json={"image_name": "shop", "container_name": name}
    )
    return str(answer.json()["id"])


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_either_era_lists_and_calls_tools(web: WebHarness, mode: str) -> None:
    preview = await launch(web)

    async with connected(web, mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        done = await call(client, "wait_for_preview", preview=preview)
        listed = await call(client, "list_previews", state="live")

    assert {"list_previews", "show_preview", "wait_for_preview"} <= names
    assert (done["settled"], done["live"], done["preview"]["state"]) == (True, True, "live")
    assert [each["name"] for each in listed["previews"]] == ["feature"]


async def test_the_list_of_tools_is_small_and_says_what_is_safe(web: WebHarness) -> None:
    async with connected(web) as client:
        listed = await client.list_tools()

    size = len(json.dumps(listed.model_dump(mode="json", by_alias=True, exclude_none=True)))
    assert len(listed.tools) <= 12
    assert size < MOST_BYTES
    for tool in listed.tools:
        assert tool.description
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is not None


async def test_a_preview_is_found_by_id_name_or_url(web: WebHarness) -> None:
    preview = await launch(web)

    async with connected(web) as client:
        shown = await call(client, "show_preview", preview=preview)
        for word in ("feature", shown["url"], shown["url"].partition("://")[2]):
            assert (await call(client, "show_preview", preview=word))["id"] == preview
        problem = await refused(client, "show_preview", preview="no-such")

    assert problem["reason"] == "environment-unknown"
    assert problem["status"] == 404
