"""Ten mistakes that people make, on real Docker: what the API says about each names the file or setting, and
the change that mends it, so that a program can act on it without reading anything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.building import Rig
from tests.integration.conftest import app_image
from tests.integration.stager import StagerUnderTest, until
from tests.local_forge.workshop import Clone

__all__ = ["app_image"]

pytestmark = pytest.mark.docker

SECRET = "correct-horse-battery"
BASE = "FROM stager-base/python:1\nWORKDIR /app\nCOPY . .\n"
RUN = BASE + 'CMD ["python3", "-u", "app.py"]\n'
SERVE = """\
import http.server, sys
host, port = sys.argv[1:] or ("0.0.0.0", "8000")
http.server.HTTPServer((host, int(port)), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a commit.

    Args:
        files: of the commit.
        code, stage: what the failure says.
        named: words of the message, the cause or the hint: the file or setting.
        change: words of the hint: the change.
    """

    files: dict[str, str]
    code: str
    stage: str
    named: tuple[str, ...]
    change: tuple[str, ...]


MISTAKES = {
    "bad-dockerfile": Mistake(
        {"Dockerfile": BASE + "RUN pip-install-everything\n"},
        "build-failed", "building", ("RUN pip-install-everything",), ("Install it first",),
    ),
    "missing-file": Mistake(
        {"Dockerfile": BASE + "COPY config/production.toml .\n"},
        "build-failed", "building", ("config/production.toml",), (".dockerignore",),
    ),
    "wrong-port": Mistake(
        {"Dockerfile": RUN.replace('"app.py"', '"app.py", "0.0.0.0", "9000"'), "app.py": SERVE},
        "wrong-port", "checking", ("9000", "8000"), ("`port`",),
    ),
    "loopback": Mistake(
        {"Dockerfile": RUN.replace('"app.py"', '"app.py", "127.0.0.1", "8000"'), "app.py": SERVE},
        "loopback-only", "checking", ("127.0.0.1",), ("0.0.0.0", "--host"),
    ),
    "missing-variable": Mistake(
        {"Dockerfile": RUN, "app.py": f"import os\nprint('with {SECRET}')\nos.environ['DATABASE_URL']\n"},
        "exited", "starting", ("`DATABASE_URL`",), ("`env`", "`.stager.yml`"),
    ),
    "memory": Mistake(
        {"Dockerfile": RUN, "app.py": "held = bytearray(1 << 29)\nheld[::4096] = b'x' * len(held[::4096])\n"},
        "out-of-memory", "starting", ("memory limit", "64 MiB"), ("Raise `memory`",),
    ),
    "crash": Mistake(
        {"Dockerfile": RUN, "app.py": "import flask_of_another_name\n"},
        "exited", "starting", ("`flask_of_another_name`",), ("Dockerfile",),
    ),
    "slow-start": Mistake(
        {"Dockerfile": RUN, "app.py": "import time\ntime.sleep(600)\n"},
        "not-listening", "checking", ("within 6 s",), ("raise `start_timeout`",),
    ),
    "migration": Mistake(
        {"Dockerfile": RUN, "app.py": "import sqlite3 as s\ns.connect('').execute('delete from orders')\n"},
        "exited", "starting", ("`orders`", "migrations"), ("`hooks.after_launch`",),
    ),
    "disk": Mistake(
        {"Dockerfile": RUN, "app.py": "print('x', file=open('/dev/full', 'w'), flush=True)\n"},
        "exited", "starting", ("disk is full",), ("`disk`",),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def rig(app_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder: Path = tmp_path_factory.mktemp("failures")
    bare = folder / "git" / "shop.git"
    (folder / "stager").mkdir()
    application: dict[str, Any] = {
        "build": ".", "port": 8000, "memory": "64m", "start_timeout": "6s", "secrets": {"PASSPHRASE": SECRET},
    }  # fmt: skip
    stager = StagerUnderTest(
        folder / "stager", app_image, {"local_forge": str(bare.parent), "images": {"shop": application}}
    )
    stager.start()
    clone = Clone(folder / "clone", bare)
    clone.push("main")
    yield Rig(stager, clone)
    stager.clean_up()


@pytest.mark.parametrize("name", MISTAKES)
def test_the_failure_alone_says_what_to_change(rig: Rig, name: str) -> None:
    mistake = MISTAKES[name]
    rig.clone.git("checkout", "--quiet", "-B", name, "main")
    rig.push(name, mistake.files)
    shown = until(lambda: _ended(rig.stager, name), f"{name} has failed", 120)
    failure = shown["failure"]
    print(failure)

    assert (failure["code"], failure["stage"]) == (mistake.code, mistake.stage)
    explained = " ".join(failure[key] for key in ("message", "cause", "hint"))
    assert all(words in explained for words in mistake.named), explained
    assert all(words in failure["hint"] for words in mistake.change), failure["hint"]
    assert failure["retryable"] is False
    assert SECRET not in str(shown)
    assert SECRET not in str(rig.deployments(name))


def _ended(stager: StagerUnderTest, name: str) -> dict[str, Any] | None:
    found = [each for each in stager.api() if each["name"] == name]
    return found[0] if found and found[0]["state"] == "failed" else None
