"""Stores pictures of previews as files: for each environment a folder with an album and its pictures."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from stager.domain.pictures import View
from stager.ports.pictures import Album, Picture

ALBUM = "album.json"
_KEY = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class FileAlbums:
    """See `ports.pictures.Albums`.

    Args:
        folder: created when the first album is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def load(self, environment_id: str) -> Album | None:
        """See `ports.pictures.Albums.load`."""
        return await asyncio.to_thread(self._load, environment_id)

    async def save(
        self, environment_id: str, album: Album, pictures: Mapping[str, bytes], thumbnail: bytes = b""
    ) -> None:
        """See `ports.pictures.Albums.save`."""
        await asyncio.to_thread(self._save, environment_id, album, pictures, thumbnail)

    async def picture(self, environment_id: str, key: str) -> bytes | None:
        """See `ports.pictures.Albums.picture`."""
        return await self._file(environment_id, key, ".png")

    async def thumbnail(self, environment_id: str, key: str) -> bytes | None:
        """See `ports.pictures.Albums.thumbnail`."""
        return await self._file(environment_id, key, ".jpg")

    async def keep(self, environment_ids: Collection[str]) -> int:
        """See `ports.pictures.Albums.keep`."""
        return await asyncio.to_thread(self._keep, frozenset(environment_ids))

    async def _file(self, environment_id: str, key: str, suffix: str) -> bytes | None:
        if not _KEY.fullmatch(key) or not _ID.fullmatch(environment_id):
            return None
        return await asyncio.to_thread(_read, self._folder / environment_id / f"{key}{suffix}")

    def _load(self, environment_id: str) -> Album | None:
        if not _ID.fullmatch(environment_id):
            return None
        text = _read(self._folder / environment_id / ALBUM)
        try:
            return _album_of(json.loads(text)) if text else None
        except (ValueError, KeyError, TypeError):  # of another version, or damaged: it is taken again
            return None

    def _save(
        self, environment_id: str, album: Album, pictures: Mapping[str, bytes], thumbnail: bytes
    ) -> None:
        folder = self._folder / environment_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {f"{key}.png": png for key, png in pictures.items()}
        if thumbnail:
            content[f"{album.cover}.jpg"] = thumbnail
        for name, data in content.items():
            _write(folder / name, data)
        _write(folder / ALBUM, json.dumps(asdict(album), default=datetime.isoformat).encode())
        for file in folder.iterdir():
            if file.name not in content and file.name != ALBUM:
                file.unlink(missing_ok=True)

    def _keep(self, environment_ids: frozenset[str]) -> int:
        folders = self._folder.iterdir() if self._folder.exists() else ()
        removed = [each for each in folders if each.name not in environment_ids]
        for folder in removed:
            shutil.rmtree(folder, ignore_errors=True)
        return len(removed)


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _write(file: Path, content: bytes) -> None:
    temporary = file.with_name(f"{file.name}.new")
    temporary.write_bytes(content)
    temporary.rename(file)


def _album_of(data: dict[str, Any]) -> Album:
    pictures = tuple(
        Picture(**{**each, "view": View(**each["view"]), "problems": tuple(each["problems"])})
        for each in data["pictures"]
    )
    taken_at = datetime.fromisoformat(data["taken_at"])
    return Album(**{**data, "taken_at": taken_at, "pictures": pictures})
