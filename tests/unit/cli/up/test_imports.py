"""What the server of `stager up` imports: each module costs time until the preview is shown."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORTED = """\
import sys
import stager.cli.up.command, stager.cli.up.session, stager.cli.up.embedded_server
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    ran = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "acme",  # certificates
        "alembic",  # the database is up to date
        "sqlalchemy",
        "fastapi",  # Stager's own pages, which are imported after the preview is shown
        "stager.front.proxy.context",  # the front is a process of its own
        "stager.project.compose",  # without a Compose file
        "stager.project.frameworks.detect",  # with a Dockerfile
        "typer.rich_utils",
    ],
)
def test_without_what_only_others_need(imported: set[str], module: str) -> None:
    assert module not in imported
    assert "stager.control.control_plane" in imported
