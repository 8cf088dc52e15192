"""Records every launch in a file, one JSON object per line."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from stager import PostLaunchHandler, Preview


class RecordOnLaunch(PostLaunchHandler):
    """Appends each launch to a file, one JSON object per line."""

    class Settings(BaseModel):
        """The file of the record."""

        file: Path
        """The file; lines are appended."""

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
