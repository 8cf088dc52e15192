"""The picture of a page, as a tool shows it."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

from mcp_types import ImageContent

from stager.control.pictures.package import Pictures
from stager.ports.pictures import PicturePorts
from stager.stores.pictures import FileAlbums
from tests.unit.control.pictures.test_rounds import OPTIONS, VIEW, Camera
from tests.unit.web.harness import WebHarness
from tests.unit.web.mcp.client import call, connected


async def test_a_page_is_shown_as_a_picture(web: WebHarness, tmp_path: Path) -> None:
    control, camera = web.harness.running.control_plane, Camera()
    ports = replace(control.ports, pictures=PicturePorts(camera, FileAlbums(tmp_path / "pictures"), OPTIONS))
    environments = control.environments
    control.pictures = Pictures(
        ports, control.routing, environments.queries, environments.change_feed.changed, b"key"
    )
    environment = await web.harness.launch("x")
    await web.harness.rest(60)

    async with connected(web) as client:
        before = await call(client, "preview_screenshot", preview="x")
        assert control.pictures.rounds is not None
        await control.pictures.rounds.run()
        result = await client.call_tool("preview_screenshot", {"preview": "x", "width": VIEW.width})
        other = await call(client, "preview_screenshot", preview="x", route="/other")

    assert (before["pictures"], before["enabled"]) == ([], True)
    assert result.structured_content is not None
    assert result.structured_content["pictures"][0]["path"].startswith(
        f"/api/v1/environments/{environment.id}/"
    )
    [image] = [content for content in result.content if isinstance(content, ImageContent)]
    assert (image.mime_type, base64.b64decode(image.data)) == ("image/png", camera.shown)
    assert len(other["pictures"]) == 1
