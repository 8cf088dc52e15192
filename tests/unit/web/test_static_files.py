"""The stylesheet, scripts and icons, and the compression of pages."""

from __future__ import annotations

import gzip
import re

import pytest

from stager.web.static_files import static_files, static_url, version
from tests.unit.web.harness import WebHarness


@pytest.mark.parametrize("name", ["stager.css", "frame.js", "favicon.svg"])
async def test_browsers_keep_a_version_forever(web: WebHarness, name: str) -> None:
    answer = await web.client.get(static_url(name))

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.content == static_files()[name].content


@pytest.mark.parametrize("path", ["/static/stager.css", "/static/0123456789ab/stager.css"])
async def test_another_version_is_checked_each_time(web: WebHarness, path: str) -> None:
    answer = await web.client.get(path)
    again = await web.client.get(path, headers={"if-none-match": answer.headers["etag"]})

    assert answer.headers["cache-control"] == "public, no-cache"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["nothing.css", "../app.py", "a/b/stager.css", "%2e%2e/app.py", ""])
async def test_serves_nothing_else(web: WebHarness, path: str) -> None:
    assert (await web.client.get(f"/static/{path}")).status_code == 404
    assert (await web.client.get(f"/static/{version()}/{path}")).status_code == 404


async def test_compresses_what_is_large(web: WebHarness) -> None:
    page = await web.client.get("/", headers={"accept-encoding": "gzip"})
    style = await web.client.get(static_url("stager.css"), headers={"accept-encoding": "gzip"})
    small = await web.client.get("/healthz", headers={"accept-encoding": "gzip"})
    plain = await web.client.get("/", headers={"accept-encoding": "identity"})

    assert page.headers["content-encoding"] == style.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in page.headers["vary"]
    assert "content-encoding" not in small.headers
    assert "content-encoding" not in plain.headers
    assert page.text == plain.text


def test_all_files_together_are_small() -> None:
    assert sum(len(gzip.compress(file.content)) for file in static_files().values()) < 40_000


def test_the_stylesheet_uses_tokens_for_colours() -> None:
    style = static_files()["stager.css"].content.decode()
    components = re.sub(r":root \{.*?\n\s*\}", "", style, flags=re.DOTALL)

    assert re.findall(r"#[0-9a-f]{3,8}\b(?=[;\s])", components) == []
