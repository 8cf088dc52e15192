"""Pictures as files: who may fetch them, with which credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from stager.control.identity.authorizer import Roles
from stager.control.pictures.links import PictureLinks
from stager.control.pictures.package import Pictures
from stager.domain.identity.roles import Role
from stager.ports.pictures import PicturePorts
from stager.stores.pictures import FileAlbums
from tests.unit.control.harness import SHOP
from tests.unit.control.pictures.test_rounds import OPTIONS, Camera
from tests.unit.web.harness import WebHarness, basic, web

ROLES = Roles({"basic:ann": Role.VIEWER, "basic:eve": Role.NONE})


@pytest.fixture(name="web")
async def with_pictures(tmp_path: Path) -> AsyncIterator[WebHarness]:
    applications = [replace(SHOP, owner="acme")]
    users = {"ann": "pass", "eve": "pass"}
    async with web(applications=applications, users=users, roles=ROLES) as opened:
        control, environments = opened.harness.running.control_plane, opened.harness
        pictures = PicturePorts(Camera(), FileAlbums(tmp_path / "pictures"), OPTIONS)
        ports = replace(control.ports, pictures=pictures)
        control.pictures = Pictures(
            ports, control.routing, control.environments.queries, lambda _: None, b"key"
        )
        await environments.launch("x")
        await environments.rest(60)
        yield opened


async def taken(web: WebHarness) -> tuple[str, str]:
    """The id of the preview, and the key of its picture."""
    control = web.harness.running.control_plane
    assert control.pictures.rounds is not None
    await control.pictures.rounds.run()
    [environment] = await web.harness.environments()
    return environment.id, control.pictures.cover_of(environment.id)


async def test_a_thumbnail_is_for_those_who_may_see_the_preview(web: WebHarness) -> None:
    environment, key = await taken(web)
    path = f"/previews/{environment}/thumbnail/{key}.jpg"
    found = await web.client.get(path, headers=basic())
    assert (found.status_code, found.headers["content-type"]) == (200, "image/jpeg")
    assert len(found.content) < 10_000
    assert (await web.client.get(path, headers=basic("eve"))).status_code == 404
    assert (await web.client.get(path)).status_code == 401
    other = await web.client.get(path.replace(key, "0" * 64), headers=basic())
    assert other.status_code == 410


async def test_the_list_shows_it_and_reserves_its_place_before(web: WebHarness) -> None:
    before = await web.client.get("/", headers=basic())
    assert '<span class="thumb"></span>' in before.text
    environment, key = await taken(web)
    page = await web.client.get("/", headers=basic())
    image = f'<img src="/previews/{environment}/thumbnail/{key}.jpg" width="80" height="56" loading="lazy"'
    assert image in page.text


async def test_a_signed_link_needs_no_credentials_and_opens_nothing_else(web: WebHarness) -> None:
    environment, key = await taken(web)
    links: PictureLinks = web.harness.running.control_plane.pictures.links
    expires = int(web.harness.running.clock.now().timestamp()) + 60
    path = links._url(environment, key, expires).partition("/pictures/")[2]
    found = await web.client.get(f"/pictures/{path}")
    assert (found.status_code, found.headers["content-type"]) == (200, "image/png")
    assert "sandbox" in found.headers["content-security-policy"]
    assert found.headers["cache-control"] == "public, max-age=300"
    assert "set-cookie" not in found.headers
    for wrong in (path.replace(key, "0" * 64), "x.png", f"{path}.png", "%2e%2e%2fx.png"):
        answer = await web.client.get(f"/pictures/{wrong}")
        assert (answer.status_code, key in answer.text) == (404, False)
    assert (await web.client.get(f"/api/v1/environments/{environment}/pictures/{key}.png")).status_code == 401


async def test_the_page_shows_why_there_is_none(web: WebHarness) -> None:
    machine = web.harness.machine
    machine.set(available_memory=100 << 20)
    environment, key = await taken(web)
    page = await web.client.get(f"/previews/{environment}", headers=basic())
    assert (key, "a browser needs 1 GB of memory" in page.text) == ("", True)
