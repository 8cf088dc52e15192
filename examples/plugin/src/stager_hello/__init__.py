"""Keeps a record of every launch, one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from stager import PostLaunchHandler, Preview


class RecordOnLaunch(PostLaunchHandler):
    """Writes each launch into a file, one JSON object a line."""

    class Settings(BaseModel):
        """Where the record is kept."""

        file: Path
        """The file; what is there already stays."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.file

    def launched(self, preview: Preview) -> None:
        row = {
            "app": preview.image_name,
            "name": preview.container_name,
            "url": preview.url,
            "refreshed": preview.generation > 1,
        }
        with self._file.open("a") as file:
            file.write(json.dumps(row) + "\n")
