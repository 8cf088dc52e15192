"""The images that tests run, made without a registry by the same script that the demo uses."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Literal

from tests.integration.stager import docker

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "base-image.sh"
SERVICE_SCRIPT = SCRIPT.with_name("service-image.sh")
APP = Path(__file__).parent / "app"
APPLICATION = "stager-test/app:1"


@functools.cache
def base_image(kind: Literal["python", "static"]) -> str:
    """The reference of a base image, which is made first if it isn't there.

    Args:
        kind: `python` has Python, git and bash; `static` has busybox alone.

    Raises:
        AssertionError: it can't be made; with what the script said.
    """
    made = subprocess.run([SCRIPT, kind], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return f"stager-base/{kind}:1"


@functools.cache
def service_image(kind: Literal["postgres", "mariadb", "redis", "rabbitmq", "maildev"]) -> str:
    """The reference of a service's image, such as `postgres:15`; made first if it isn't there.

    Raises:
        AssertionError: it can't be made; with what the script said.
    """
    made = subprocess.run([SERVICE_SCRIPT, kind], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout.splitlines()[-1]


@functools.cache
def application_image() -> str:
    """The reference of the application under test, made afresh in each run; see `app/server.py`.

    Raises:
        AssertionError: its base can't be made.
    """
    made = docker("create", base_image("python"), "true")
    docker("cp", str(APP / "server.py"), f"{made}:/server.py")
    docker("commit", made, APPLICATION)
    docker("rm", made)
    return APPLICATION
