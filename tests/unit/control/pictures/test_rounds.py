"""When pictures are taken, over fakes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from stager.control.pictures.rounds import Rounds
from stager.control.reporting.pictures import pictures_text
from stager.domain.errors import Fault, Retry
from stager.domain.pictures import Box, PictureOptions, PictureSpec, View
from stager.domain.source import Trust
from stager.engines.docker.pictures.comparison import changed_share, is_usable, thumbnail_of
from stager.ports.pictures import PicturePorts, Shot
from stager.stores.pictures import FileAlbums
from tests.unit.control.harness import SHOP, Harness

VIEW = View("/", 800)
OPTIONS = PictureOptions(PictureSpec(("/",), (800,)))


def png(*, black: int = 0) -> bytes:
    """A white picture of 10 x 10 pixels, the first ones black."""
    image = Image.new("RGB", (10, 10), "white")
    for index in range(black):
        image.putpixel((index % 10, index // 10), (0, 0, 0))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class Camera:
    """A photographer with the pictures that a test gives it."""

    def __init__(self) -> None:
        self.shown = png()
        self.error: Exception | None = None
        self.taken: list[str] = []

    async def take(self, instance: str, host: str, views: Sequence[View]) -> list[Shot]:
        self.taken.append(host)
        if self.error is not None:
            raise self.error
        return [Shot(view, self.shown, 200) for view in views]

    async def compare(self, before: bytes, after: bytes, ignored: Sequence[Box] = ()) -> float:
        return changed_share(before, after, ignored)

    async def thumbnail(self, png: bytes) -> bytes:
        return thumbnail_of(png)


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    async with Harness([replace(SHOP, owner="acme")]).open() as opened:
        yield opened


@pytest.fixture
def camera() -> Camera:
    return Camera()


@pytest.fixture
def albums(tmp_path: Path) -> FileAlbums:
    return FileAlbums(tmp_path / "pictures")


def rounds(harness: Harness, camera: Camera, albums: FileAlbums, options: PictureOptions = OPTIONS) -> Rounds:
    return Rounds(harness.running.control_plane.ports, PicturePorts(camera, albums, options))


async def test_each_deployment_is_taken_once(harness: Harness, camera: Camera, albums: FileAlbums) -> None:
    environment = await harness.launch("x")
    await harness.rest(60)
    one = rounds(harness, camera, albums)
    await one.run()
    await one.run()
    await rounds(harness, camera, albums).run()  # after a restart
    assert len(camera.taken) == 1
    album = await albums.load(environment.id)
    assert album is not None
    assert await albums.picture(environment.id, album.pictures[0].key) == camera.shown
    await harness.launch("x")
    await harness.rest(60)
    camera.shown = png(black=3)
    await one.run()
    assert len(list((albums._folder / environment.id).glob("*.png"))) == 1


async def test_pictures_go_with_their_preview(harness: Harness, camera: Camera, albums: FileAlbums) -> None:
    environment = await harness.launch("x")
    await harness.rest(60)
    await rounds(harness, camera, albums).run()
    assert await albums.keep([]) == 1
    assert await albums.load(environment.id) is None


async def test_a_pull_request_is_compared_with_its_base(
    harness: Harness, camera: Camera, albums: FileAlbums
) -> None:
    one = rounds(harness, camera, albums)
    repository = harness.forge.add_repository("acme", "shop")
    opened = harness.forge.open(repository, "feature", "a1b2c3d4" * 5)
    await harness.deliver(opened)
    await harness.rest(60)
    row = next(each for each in await harness.environments() if each.change)
    assert row.change is not None
    await harness.launch(row.change.base_ref)
    await harness.rest(60)
    base = next(each for each in await harness.environments() if not each.change)
    await albums.keep([])
    await one.run()
    camera.shown = png(black=25)
    await harness.deliver(harness.forge.push(opened, "b1b2c3d4" * 5))
    await harness.rest(60)
    await one.run()
    album = await albums.load(row.id)
    assert album is not None
    picture = album.pictures[0]
    assert (album.compared_with, picture.changed) == (base.name, 0.25)
    assert await albums.picture(row.id, picture.before) == png()
    shown = pictures_text(album, album.deployment, "", {key: f"https://x/{key}" for key in album.keys})
    assert shown.index(picture.key) < shown.index(picture.before)


async def test_differences_in_ignored_boxes_dont_count() -> None:
    before, after = png(), png(black=25)
    assert changed_share(before, after) == 0.25
    assert changed_share(before, after, [Box(0, 0, 10, 2)]) == 5 / 80
    assert changed_share(before, after, [Box(0, 0, 10, 2), Box(0, 2, 5, 1)]) == 0
    assert changed_share(before, after, [Box(0, 0, 3840, 3840)]) == 0


def test_which_pictures_a_box_is_of() -> None:
    spec = PictureSpec(
        ignored=(
            Box(1, 0, 1, 1),
            Box(2, 0, 1, 1, "/cart"),
            Box(3, 0, 1, 1, "", 375),
            Box(4, 0, 1, 1, "/", 375),
        )
    )
    assert [box.x for box in spec.ignored_of(View("/", 1280))] == [1]
    assert [box.x for box in spec.ignored_of(View("/", 375))] == [1, 3, 4]
    assert [box.x for box in spec.ignored_of(View("/cart", 375))] == [1, 2, 3]


async def test_the_commit_says_what_is_taken(harness: Harness, camera: Camera, albums: FileAlbums) -> None:
    environment = await harness.launch("x")
    await harness.rest(60)
    deployment = await harness.deployment()
    wanted = replace(deployment.manifest, pictures=PictureSpec(("/cart", "/help")))
    await harness.store.write(lambda tx: tx.save_deployment(replace(deployment, manifest=wanted)))
    await rounds(harness, camera, albums).run()
    album = await albums.load(environment.id)
    assert album is not None
    assert [each.view for each in album.pictures] == [View("/cart", 800), View("/help", 800)]


async def test_without_memory_the_pictures_are_postponed(
    harness: Harness, camera: Camera, albums: FileAlbums
) -> None:
    environment = await harness.launch("x")
    await harness.rest(60)
    machine, one = harness.machine, rounds(harness, camera, albums)
    machine.set(available_memory=600 << 20)
    await one.run()
    await one.run()
    album = await albums.load(environment.id)
    assert album is not None
    assert (album.reason, camera.taken) == ("memory-short", [])
    assert "0.6 GB" in pictures_text(album, album.deployment, "", {})
    machine.set(available_memory=4 << 30)
    await one.run()
    album = await albums.load(environment.id)
    assert album is not None
    assert (album.reason, len(album.pictures)) == ("", 1)
    assert one.covers == {environment.id: album.cover}
    small = await albums.thumbnail(environment.id, album.cover)
    assert small is not None
    assert small.startswith(b"\xff\xd8")


async def test_code_of_a_fork_is_opened_if_allowed(
    harness: Harness, camera: Camera, albums: FileAlbums
) -> None:
    environment = await harness.launch("x")
    await harness.rest(60)
    foreign = replace(environment, serving=1, desired=replace(environment.desired, trust=Trust.FORK))
    await harness.store.write(lambda tx: tx.save_environment(foreign))
    await rounds(harness, camera, albums, replace(OPTIONS, forks=True)).run()
    assert len(camera.taken) == 1


async def test_code_of_a_fork_is_not_opened(harness: Harness, camera: Camera, albums: FileAlbums) -> None:
    environment = await harness.launch("x")
    await harness.rest(60)
    foreign = replace(environment, serving=1, desired=replace(environment.desired, trust=Trust.FORK))
    await harness.store.write(lambda tx: tx.save_environment(foreign))
    await rounds(harness, camera, albums).run()
    album = await albums.load(environment.id)
    assert album is not None
    assert (album.reason, camera.taken) == ("pictures-untrusted", [])


async def test_a_fault_is_shown_and_a_retry_is_tried_three_times(
    harness: Harness, camera: Camera, albums: FileAlbums
) -> None:
    environment = await harness.launch("x")
    await harness.rest(60)
    camera.error = Retry("Docker doesn't answer.", reason="engine-away")
    one = rounds(harness, camera, albums)
    for _ in range(5):
        await one.run()
    assert len(camera.taken) == 3
    album = await albums.load(environment.id)
    assert album is not None
    assert album.reason == "engine-away"
    await harness.launch("x")
    await harness.rest(60)
    camera.error = Fault("There is no browser.", reason="browser-missing")
    await one.run()
    album = await albums.load(environment.id)
    assert album is not None
    assert album.reason == "browser-missing"


@pytest.mark.parametrize("bad", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40)])
def test_what_is_no_picture_is_refused(bad: bytes) -> None:
    assert not is_usable(bad)


def test_a_picture_of_too_many_pixels_is_refused_by_its_header() -> None:
    good = png()
    assert is_usable(good)
    assert not is_usable(good[:16] + b"\x7f\xff\xff\xff" * 2 + good[24:])


async def test_a_path_is_no_key(albums: FileAlbums) -> None:
    assert await albums.picture("../x", "0" * 64) is None
    assert await albums.picture("x", "../../seal") is None


async def test_the_comment_has_the_pictures(harness: Harness, camera: Camera, albums: FileAlbums) -> None:
    repository = harness.forge.add_repository("acme", "shop")
    await harness.deliver(harness.forge.open(repository, "feature", "a1b2c3d4" * 5))
    await harness.rest(60)
    (environment,) = await harness.environments()
    await rounds(harness, camera, albums).run()
    album = await albums.load(environment.id)
    text = pictures_text(album, (await harness.deployment()).id, "http://demo/previews/x", {})
    assert "[Pictures](http://demo/previews/x#pictures)" in text
    assert "- `/`, 800 px" in text
    assert pictures_text(album, "another", "", {}) == ""
