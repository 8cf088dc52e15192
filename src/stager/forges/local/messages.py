"""What the hook sends, signed with the repository's secret. `deliveries` is how Stager reads it.

Apart, for whoever pushes waits while this is loaded: nothing here needs pydantic or much of the domain.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import asdict

from stager.forges.local.register import Entry

SIGNATURE, REPOSITORY, DELIVERY = "x-stager-signature", "x-stager-repository", "x-stager-delivery"


def write(repository: str, action: str, change: Entry) -> bytes:
    """One thing that happened to one branch.

    Args:
        repository: its name, that of its application.
        action: one of `domain.events.ChangeAction`.
    """
    return json.dumps({"repository": repository, "action": action, "change": asdict(change)}).encode()


def signature(secret: bytes, body: bytes) -> str:
    return "sha256=" + hmac.new(secret, body, "sha256").hexdigest()
