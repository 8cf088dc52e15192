"""Every payload that GitHub's own examples have, signed and read.

The examples are `@octokit/webhooks-examples` (MIT), which isn't part of this repository: install it with
`npm install @octokit/webhooks-examples@7.6.1` and name the directory in `STAGER_TEST_NODE_MODULES`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stager.domain.events import ChangeSeen, Ignored
from stager.forges.github.webhooks import GithubWebhooks
from tests.doubles.github import signed

MODULES = os.environ.get("STAGER_TEST_NODE_MODULES", "")
EXAMPLES = Path(MODULES) / "@octokit" / "webhooks-examples"

PULL_REQUESTS = {
    "closed",
    "converted_to_draft",
    "edited",
    "labeled",
    "opened",
    "ready_for_review",
    "reopened",
    "synchronize",
    "unlabeled",
}
"""The actions that have an effect."""

pytestmark = pytest.mark.skipif(
    not MODULES or not EXAMPLES.is_dir(),
    reason="@octokit/webhooks-examples isn't installed in $STAGER_TEST_NODE_MODULES",
)


def examples() -> list[tuple[str, dict[str, Any]]]:
    files = EXAMPLES.glob("*/index.json")
    events = [event for file in files for event in json.loads(file.read_text(encoding="utf-8"))]
    return [(event["name"], example) for event in events for example in event["examples"]]


@pytest.mark.requirement("R68", "R74")
@pytest.mark.parametrize("form", [False, True])
def test_r74_all_of_githubs_examples_are_read(form: bool) -> None:
    webhooks = GithubWebhooks("secret")
    read: Counter[type] = Counter()
    for name, payload in examples():
        headers, body = signed(name, payload, "secret", form=form)
        event = webhooks.read(webhooks.receive(headers, body))
        read[type(event)] += 1
        concerns_us = name == "pull_request" and payload["action"] in PULL_REQUESTS
        assert isinstance(event, ChangeSeen) == concerns_us, (name, event)
        if "repository" in payload and isinstance(event, Ignored):
            assert event.repository is not None, name
    assert read[ChangeSeen] > 0
    assert read[Ignored] > 300
