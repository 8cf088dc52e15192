"""`stager hash-password` makes what BasicAuthentication takes."""

from __future__ import annotations

import base64
import subprocess
import sys

from stager.auth.basic import BasicAuthentication
from stager.ports.handlers import Credentials


def made(typed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stager", "hash-password"]
    return subprocess.run(command, input=typed, capture_output=True, text=True, check=False)


async def test_the_printed_hash_accepts_its_password() -> None:
    done = made("s e:cret\n")
    strategy = BasicAuthentication({"ann": done.stdout.strip()})

    header = "Basic " + base64.b64encode(b"ann:s e:cret").decode()
    assert done.stdout.startswith("$argon2id$")
    assert "s e:cret" not in done.stdout
    assert await strategy.authenticate(Credentials(header, {})) is not None


def test_an_empty_one_is_none() -> None:
    done = made("\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The password is empty" in done.stderr
