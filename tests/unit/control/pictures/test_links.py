"""Links to pictures in comments: who gets them, and what they lead to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stager.control.pictures.links import LIFETIME, PictureLinks, is_public
from stager.control.reporting.pictures import pictures_text
from stager.domain.environment import ChangeLink, Environment
from stager.domain.errors import Refused
from stager.domain.identity.access_policy import Privacy
from stager.domain.pictures import InComments
from stager.domain.pull_requests.events import ChangeEvent
from stager.ports.pictures import Album, PicturePorts
from stager.stores.pictures import FileAlbums
from tests.unit.control.harness import SHOP, Harness
from tests.unit.control.pictures.test_rounds import OPTIONS, Camera, rounds

OWNED = replace(SHOP, owner="acme")
PRIVATE = replace(OWNED, privacy=Privacy(frozenset({"sign-in"})))


@dataclass
class Pictured:
    """A pull request's preview with pictures."""

    harness: Harness
    albums: FileAlbums
    environment: Environment
    change: ChangeLink
    album: Album
    opened: ChangeEvent

    def links(self, shown: InComments = "public", key: bytes = b"key") -> PictureLinks:
        control = self.harness.running.control_plane
        ports = replace(control.ports, pictures=PicturePorts(Camera(), self.albums, OPTIONS))
        return PictureLinks(ports, control.routing, key, shown)

    async def urls(self, shown: InComments = "public") -> dict[str, str]:
        return await self.links(shown).of_album(self.environment, self.change, self.album)

    async def link(self, shown: InComments = "public") -> str:
        [url] = (await self.urls(shown)).values()
        return url.rpartition("/")[2].removesuffix(".png")


async def pictured(harness: Harness, folder: Path) -> Pictured:
    albums = FileAlbums(folder / "pictures")
    repository = harness.forge.add_repository("acme", "shop")
    opened = harness.forge.open(repository, "feature", "a1b2c3d4" * 5)
    await harness.deliver(opened)
    await harness.rest(60)
    await rounds(harness, Camera(), albums).run()
    [environment] = await harness.environments()
    album = await albums.load(environment.id)
    assert album is not None
    assert environment.change is not None
    return Pictured(harness, albums, environment, environment.change, album, opened)


@pytest.fixture
async def public(tmp_path: Path) -> AsyncIterator[Pictured]:
    async with Harness([OWNED], domain="stager.acme.dev", scheme="https").open() as harness:
        yield await pictured(harness, tmp_path)


@pytest.fixture
async def private(tmp_path: Path) -> AsyncIterator[Pictured]:
    async with Harness([PRIVATE], domain="stager.acme.dev", scheme="https").open() as harness:
        yield await pictured(harness, tmp_path)


async def refused(links: PictureLinks, link: str) -> None:
    with pytest.raises(Refused) as caught:
        await links.picture(link)
    assert (caught.value.status, caught.value.reason) == (404, "picture-link-invalid")


async def test_a_link_leads_to_its_picture(public: Pictured) -> None:
    [(key, url)] = (await public.urls()).items()
    assert url.startswith("https://stager.acme.dev/pictures/")
    assert await public.links().picture(await public.link()) == await public.albums.picture(
        public.environment.id, key
    )
    text = pictures_text(public.album, public.album.deployment, "https://stager.acme.dev/p", {key: url})
    assert f'<img src="{url}"' in text


async def test_no_other_link_does(public: Pictured) -> None:
    link = await public.link()
    environment, key, expires, signature = link.split(".")
    wrong = "A" if signature[0] != "A" else "B"
    for bad in (
        "",
        "x",
        link + "x",
        f"{environment}.{key}.{expires}.{wrong}{signature[1:]}",
        f"{environment}.{'0' * 64}.{expires}.{signature}",
        f"{environment}.{key}.{int(expires) + 1}.{signature}",
        f"other.{key}.{expires}.{signature}",
        f"../x.{key}.{expires}.{signature}",
        link.replace(expires, "٣" * 10),
    ):
        await refused(public.links(), bad)
    await refused(public.links(key=b"another"), link)


async def test_a_link_ends_with_its_time_its_preview_or_the_permission(public: Pictured) -> None:
    link = await public.link()
    await refused(public.links("links"), link)
    gone = replace(public.album, pictures=(replace(public.album.pictures[0], key=""),))
    await public.albums.save(public.environment.id, gone, {})
    await refused(public.links(), link)


async def test_a_link_ends_with_its_preview(public: Pictured) -> None:
    link = await public.link()
    await public.harness.deliver(public.harness.forge.close(public.opened))
    await public.harness.rest(60)
    await refused(public.links(), link)


async def test_a_link_expires(public: Pictured) -> None:
    expires = int(public.harness.running.clock.now().timestamp())
    url = public.links()._url(public.environment.id, public.album.cover, expires)
    await refused(public.links(), url.rpartition("/")[2].removesuffix(".png"))
    old = replace(public.album, taken_at=public.album.taken_at - LIFETIME)
    assert await public.links().of_album(public.environment, public.change, old) == {}


async def test_a_private_preview_gets_links_only_if_allowed(private: Pictured) -> None:
    assert await private.urls() == {}
    assert await private.urls("links") == {}
    link = await private.link("all")
    assert (await private.links("all").picture(link)).startswith(b"\x89PNG")
    await refused(private.links("public"), link)


@pytest.mark.parametrize("domain", ["preview.test", "localhost:8000", "stager.lan"])
async def test_a_server_that_no_forge_reaches_has_none(tmp_path: Path, domain: str) -> None:
    async with Harness([OWNED], domain=domain).open() as harness:
        assert await (await pictured(harness, tmp_path)).urls() == {}


async def test_a_forge_that_has_sent_nothing_may_not_reach_it(public: Pictured) -> None:
    elsewhere = replace(public.change, repository_id="gitlab:1")
    assert await public.links().of_album(public.environment, elsewhere, public.album) == {}


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("stager.acme.dev", True),
        ("8.8.8.8", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("stager", False),
        ("stager.local", False),
        ("x.home.arpa", False),
        ("", False),
    ],
)
def test_which_hosts_may_be_known_elsewhere(host: str, *, is_it: bool) -> None:
    assert is_public(host) is is_it
