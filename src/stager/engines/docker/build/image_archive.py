"""Verifies image archives from an untrusted engine.

The output of `docker save` could contain any tags, so that loading it replaces other images; or omit layers,
so that another image's are used. Therefore only blobs that match their digests are passed on, with a
manifest that is written here, without tags.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stager.domain.errors import Fault

BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 18
"""Bytes per read."""
TEXT_LIMIT = 4 << 20
"""Maximum bytes of a manifest or an image's configuration."""
MANIFEST = "manifest.json"
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})", re.ASCII)
"""The name of blobs in Docker 25 and later, with uncompressed layers,
https://github.com/opencontainers/image-spec/blob/main/image-layout.md."""


class Reader(Protocol):
    """The source of bytes, such as aiohttp's `StreamReader`."""

    async def readexactly(self, n: int) -> bytes:
        """Exactly n bytes. Raises asyncio.IncompleteReadError at the end."""

    async def read(self, n: int) -> bytes:
        """At most n bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected image.

    Args:
        image: its id, `sha256:...`.
        labels: its required labels.
        limit: maximum bytes of the archive.
    """

    image: str
    labels: Mapping[str, str]
    limit: int


@dataclass(slots=True)
class _Seen:
    blobs: set[str] = field(default_factory=set)
    texts: dict[str, bytes] = field(default_factory=dict)
    size: int = 0


async def checked(source: Reader, expected: Expected) -> AsyncIterator[bytes]:
    """Verify an archive, and return one for `docker load` with only this image.

    Raises:
        Fault: `image-refused`: the archive is invalid; `image-too-large`.
    """
    seen, wanted = _Seen(), expected.image.removeprefix("sha256:")
    while (member := await _header(source, seen, expected.limit)) is not None:
        blob = _BLOB.fullmatch(member.name) if member.isreg() else None
        if blob and blob[1] not in seen.blobs:
            seen.blobs.add(blob[1])
            async for chunk in _blob(source, member, blob[1], seen if blob[1] == wanted else None):
                yield chunk
        elif member.isreg() and member.name == MANIFEST and MANIFEST not in seen.texts:
            seen.texts[MANIFEST] = await _text(source, member)
        else:
            await _skip(source, member.size)
    yield _manifest(seen, expected)


async def _header(source: Reader, seen: _Seen, limit: int) -> tarfile.TarInfo | None:
    block = await source.readexactly(BLOCK)
    if block == bytes(BLOCK):
        return None
    try:
        member = tarfile.TarInfo.frombuf(block, "ascii", "replace")
    except tarfile.HeaderError as error:
        raise _refused("it isn't a tar archive") from error
    if member.size < 0:
        raise _refused("a file has a negative size")
    seen.size += member.size + BLOCK
    if seen.size > limit:
        raise Fault(
            f"The image is larger than {limit / 1e9:.1f} GB.",
            hint="Raise `forks.max_image_size` in the configuration, or make the image smaller with a"
            " .dockerignore and fewer packages.",
            reason="image-too-large",
        )
    return member


async def _blob(
    source: Reader, member: tarfile.TarInfo, digest: str, kept: _Seen | None
) -> AsyncIterator[bytes]:
    """A blob with its header and padding. Raises `Fault` if it doesn't match its digest."""
    if kept and member.size > TEXT_LIMIT:
        raise _refused("its configuration is too large")
    yield _head(member.name, member.size)
    sum_, text, left = hashlib.sha256(), bytearray(), member.size
    while left:
        chunk = await source.read(min(left, CHUNK))
        if not chunk:
            raise _refused("it ends too early")
        left -= len(chunk)
        sum_.update(chunk)
        if kept:
            text += chunk
        yield chunk
    if sum_.hexdigest() != digest:
        raise _refused(f"blob {digest[:12]} doesn't match its digest")
    if kept:
        kept.texts[digest] = bytes(text)
    padding = -member.size % BLOCK
    await source.readexactly(padding)
    yield bytes(padding)


async def _text(source: Reader, member: tarfile.TarInfo) -> bytes:
    if member.size > TEXT_LIMIT:
        raise _refused("its manifest is too large")
    text = await source.readexactly(member.size)
    await source.readexactly(-member.size % BLOCK)
    return text


async def _skip(source: Reader, size: int) -> None:
    left = size + -size % BLOCK
    while left:
        chunk = await source.read(min(left, CHUNK))
        if not chunk:
            raise _refused("it ends too early")
        left -= len(chunk)


def _manifest(seen: _Seen, expected: Expected) -> bytes:
    """The archive's last file, once all that it names has passed. Raises `Fault`."""
    wanted = expected.image.removeprefix("sha256:")
    layers = _layers(seen, wanted)
    configuration = _json(seen.texts.get(wanted), "configuration")
    try:
        layers_meant = list(configuration["rootfs"]["diff_ids"])
        labels = dict(configuration["config"].get("Labels") or {})
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _refused("its configuration isn't one") from error
    if layers_meant != [f"sha256:{layer}" for layer in layers]:
        raise _refused("its configuration names other layers")
    if any(labels.get(name) != value for name, value in expected.labels.items()):
        raise _refused("it doesn't have the labels of this build")
    names = [f"blobs/sha256/{layer}" for layer in layers]
    entry = {"Config": f"blobs/sha256/{wanted}", "RepoTags": None, "Layers": names}
    text = json.dumps([entry]).encode()
    return _head(MANIFEST, len(text)) + text + bytes(-len(text) % BLOCK + 2 * BLOCK)


def _layers(seen: _Seen, wanted: str) -> list[str]:
    """The layers that its manifest names, all of which came along."""
    try:
        (entry,) = _json(seen.texts.get(MANIFEST), "manifest")
        names = [_BLOB.fullmatch(name) for name in [entry["Config"], *entry["Layers"]]]
        configuration, *layers = [name[1] for name in names if name]
    except (TypeError, KeyError, ValueError) as error:
        raise _refused("its manifest isn't one image's") from error
    if configuration != wanted or len(layers) != len(entry["Layers"]):
        raise _refused("its manifest is another image's")
    if not seen.blobs.issuperset(layers):
        raise _refused("a layer is missing")
    return layers


def _json(text: bytes | None, what: str) -> Any:
    try:
        return json.loads(text or b"")
    except (ValueError, RecursionError) as error:
        raise _refused(f"its {what} isn't JSON") from error


def _head(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)


def _refused(why: str) -> Fault:
    return Fault(
        f"The image from the builder for untrusted code was rejected: {why}.",
        hint="If the Dockerfile has a `# syntax=` line, remove it. Otherwise the builder's data may be "
        "damaged or tampered with: inform an administrator.",
        reason="image-refused",
    )
