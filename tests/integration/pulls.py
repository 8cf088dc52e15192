"""Pull requests as GitHub's deliveries tell of them; the shape is GitHub's, every word of it our own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Pull:
    """A pull request that can be opened, pushed to and closed; each step gives the delivery's payload."""

    number: int = 1
    ref: str = "my-branch"
    repository: str = "shop"
    owner: str = "acme"
    fork: bool = False
    version: int = 0
    is_open: bool = True
    merged: bool = False
    clock: datetime = field(default=EPOCH)

    @property
    def sha(self) -> str:
        return hashlib.sha1(
            f"{self.owner}/{self.repository}#{self.number}@{self.version}".encode()
        ).hexdigest()

    def opened(self) -> dict[str, Any]:
        return self.payload("opened")

    def push(self) -> dict[str, Any]:
        before = self.sha
        self.version += 1
        return {**self.payload("synchronize"), "before": before, "after": self.sha}

    def closed(self, *, merged: bool = False, head_deleted: bool = False) -> dict[str, Any]:
        self.is_open, self.merged = False, merged
        payload = self.payload("closed")
        if head_deleted:
            payload["pull_request"]["head"]["repo"] = None
        return payload

    def reopened(self) -> dict[str, Any]:
        self.is_open = True
        return self.payload("reopened")

    def payload(self, action: str) -> dict[str, Any]:
        """Of a delivery about it as it is now, a little later than the one before."""
        self.clock += timedelta(seconds=10)
        base = {
            "id": crc32(self.repository.encode()),
            "name": self.repository,
            "full_name": f"{self.owner}/{self.repository}",
            "owner": {"login": self.owner, "id": 7},
        }
        head = {**base, "id": 99, "owner": {"login": "stranger", "id": 8}} if self.fork else base
        return {
            "action": action,
            "number": self.number,
            "repository": base,
            "sender": {"login": "dev", "id": 9},
            "pull_request": {
                "number": self.number,
                "state": "open" if self.is_open else "closed",
                "title": f"Change number {self.number}",
                "user": {"login": "dev", "id": 9},
                "html_url": f"https://github.test/{self.owner}/{self.repository}/pull/{self.number}",
                "merged": self.merged,
                "draft": False,
                "updated_at": self.clock.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "head": {"ref": self.ref, "sha": self.sha, "repo": head},
                "base": {"ref": "main", "sha": "0" * 40, "repo": base},
            },
        }
