"""The doubles, and Stagers to meet them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.forge import doubles
from tests.integration.conftest import app_image, make_stager
from tests.integration.stager import SECRET

__all__ = ["app_image", "make_stager"]


@dataclass(frozen=True, slots=True)
class Example:
    """An example of a delivery that GitHub's own people collected, signed by their own signer.

    Args:
        set: which GitHub it is from, such as `api.github.com` or `ghes-35`.
        signatures: of `body`, and of `form`.
    """

    set: str
    event: str
    body: str
    form: str
    signatures: tuple[str, str]

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(self.body)
        return payload

    def headers(self, delivery: str, *, form: bool = False) -> dict[str, str]:
        """As GitHub sends them."""
        return {
            "content-type": "application/x-www-form-urlencoded" if form else "application/json",
            "user-agent": "GitHub-Hookshot/044aadd",
            "x-github-delivery": delivery,
            "x-github-event": self.event,
            "x-hub-signature-256": self.signatures[form],
        }


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    reason = doubles.missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def examples(_installed: None) -> list[Example]:
    """All of `@octokit/webhooks-examples`."""
    signer = Path(__file__).with_name("sign.mjs")
    done = subprocess.run(
        [doubles.NODE, signer, doubles.MODULES, SECRET], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    read = [json.loads(line) for line in done.stdout.splitlines()]
    return [Example(**{**line, "signatures": tuple(line["signatures"])}) for line in read]
