"""What a builder that isn't trusted may hand over: one image that is what it says, and nothing besides."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from stager.domain.errors import Fault
from stager.engines.docker.build.image_archive import Expected, checked

LABELS = {"stager.build": "key1"}
LIMIT = 1 << 20

Member = tuple[str, bytes]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def blob(content: bytes) -> Member:
    return f"blobs/sha256/{digest(content)}", content


LAYERS = [b"layer one", b"layer two" * 100]


def configuration(layers: Iterable[bytes] = LAYERS, labels: Mapping[str, str] | None = LABELS) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}" for layer in layers]}
    return json.dumps({"config": {"Labels": labels}, "rootfs": rootfs}).encode()


def manifest(config: bytes, layers: Iterable[bytes] = LAYERS, **more: Any) -> Member:
    entry = {
        "Config": blob(config)[0],
        "RepoTags": None,
        "Layers": [blob(layer)[0] for layer in layers],
        **more,
    }
    return "manifest.json", json.dumps([entry]).encode()


def archive(*members: Member | tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return stream.getvalue()


async def passed(data: bytes, image: bytes, limit: int = LIMIT) -> bytes:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    expected = Expected(f"sha256:{digest(image)}", LABELS, limit)
    return b"".join([chunk async for chunk in checked(reader, expected)])


def read(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


GOOD = configuration()
WHOLE = [blob(GOOD), *map(blob, LAYERS), manifest(GOOD)]


async def test_one_image_passes() -> None:
    found = read(await passed(archive(*WHOLE), GOOD))
    assert set(found) == {blob(GOOD)[0], *(blob(layer)[0] for layer in LAYERS), "manifest.json"}
    assert [found[blob(layer)[0]] for layer in LAYERS] == LAYERS


async def test_tags_and_all_else_stay_behind() -> None:
    """`docker load` would replace images of these names."""
    tags: dict[str, Any] = {
        "RepoTags": ["stager-base/static:1"],
        "Parent": f"sha256:{'0' * 64}",
        "LayerSources": {},
    }
    folder, link = tarfile.TarInfo("blobs"), tarfile.TarInfo("blobs/sha256/" + "1" * 64)
    folder.type, link.type, link.linkname = tarfile.DIRTYPE, tarfile.SYMTYPE, "/etc/shadow"
    others = [
        ("repositories", b'{"stager-base/static": {"1": "x"}}'),
        ("index.json", b'{"manifests": [{"annotations": {"io.containerd.image.name": "x"}}]}'),
        ("../../etc/passwd", b"x"),
        ("oci-layout", b"{}"),
    ]
    layers = [blob(layer) for layer in LAYERS]
    found = read(
        await passed(archive(folder, link, *others, blob(GOOD), *layers, manifest(GOOD, **tags)), GOOD)
    )
    assert set(found) == {blob(GOOD)[0], *(name for name, _ in layers), "manifest.json"}
    [entry] = json.loads(found["manifest.json"])
    assert entry == {"Config": blob(GOOD)[0], "RepoTags": None, "Layers": [name for name, _ in layers]}


OTHER = configuration(labels={"stager.build": "another"})
FOREIGN = configuration([*LAYERS, b"a layer of somebody else's image"])
BAD_NAME = f"blobs/sha256/{'a' * 64}", b"not that"


@pytest.mark.parametrize(
    ("members", "image", "why"),
    [
        ([blob(GOOD), blob(LAYERS[0]), manifest(GOOD)], GOOD, "a layer is missing"),
        ([blob(FOREIGN), *map(blob, LAYERS), manifest(FOREIGN)], FOREIGN, "names other layers"),
        ([*map(blob, LAYERS), manifest(GOOD)], GOOD, "its configuration isn't JSON"),
        (WHOLE[:-1], GOOD, "its manifest isn't"),
        ([*WHOLE[:-1], ("manifest.json", b"[]")], GOOD, "isn't one image's"),
        ([*WHOLE[:-1], ("manifest.json", b"[" * 9_000)], GOOD, "its manifest isn't JSON"),
        ([*WHOLE[:-1], ("manifest.json", json.dumps([{}, {}]).encode())], GOOD, "isn't one image's"),
        ([*WHOLE, blob(OTHER)], OTHER, "another image's"),
        ([blob(OTHER), *map(blob, LAYERS), manifest(OTHER)], OTHER, "labels of this build"),
        ([BAD_NAME, *WHOLE], GOOD, "doesn't match its digest"),
        ([*WHOLE[:-1], manifest(GOOD, Layers=["../../etc/passwd"])], GOOD, "another image's"),
        ([*WHOLE[:-1], manifest(GOOD, Layers=7)], GOOD, "isn't one image's"),
    ],
)
async def test_what_is_refused(members: list[Member], image: bytes, why: str) -> None:
    with pytest.raises(Fault, match=why) as refused:
        await passed(archive(*members), image)
    assert refused.value.reason == "image-refused"


async def test_no_configuration_at_all() -> None:
    with pytest.raises(Fault) as refused:
        await passed(archive(blob(b"[]"), manifest(b"[]", [])), b"[]")
    assert refused.value.reason == "image-refused"


async def test_one_that_is_too_large() -> None:
    with pytest.raises(Fault) as refused:
        await passed(archive(*WHOLE), GOOD, limit=2_000)
    assert refused.value.reason == "image-too-large"


@pytest.mark.parametrize("cut", [100, 700, 2_000])
async def test_one_that_ends_too_early(cut: int) -> None:
    with pytest.raises((Fault, EOFError)):
        await passed(archive(*WHOLE)[:cut], GOOD)


async def test_what_is_no_archive() -> None:
    with pytest.raises(Fault, match="isn't a tar archive"):
        await passed(b"x" * 4_096, GOOD)
