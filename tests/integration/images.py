"""The images that tests run, made without a registry by the same script that the demo uses."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from pathlib import Path
from typing import Literal

from tests.integration.stager import docker

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "base-image.sh"
ServiceKind = Literal["postgres", "mariadb", "redis", "rabbitmq", "maildev"]
SERVICE_SCRIPT = SCRIPT.with_name("service-image.sh")
APP = Path(__file__).parent / "app"
APPLICATION = "stager-test/app:1"
LABEL = "stager.test-image"
"""The label by which scripts/test finds the images that tests made; its value is the digest of the content.
It isn't `stager.test`, because containers inherit it."""


@functools.cache
def base_image(kind: Literal["python", "python-build", "node", "static"]) -> str:
    """The reference of a base image, which is made first if it isn't there.

    Args:
        kind: `python` has Python, git and bash; `python-build` also pip, `node` Node.js; `static` has busybox
            alone.

    Raises:
        AssertionError: it can't be made; with the script's output.
    """
    made = subprocess.run([SCRIPT, kind], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return f"stager-base/{kind}:1"


@functools.cache
def service_image(kind: ServiceKind) -> str:
    """The reference of a service's image, such as `postgres:15`; made first if it isn't there.

    Raises:
        AssertionError: it can't be made; with the script's output.
    """
    made = subprocess.run([SERVICE_SCRIPT, kind], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout.splitlines()[-1]


@functools.cache
def application_image() -> str:
    """The reference of the application under test, which is made where there is none with the same content;
    see `app/server.py`.

    Raises:
        AssertionError: its base can't be made.
    """
    base, server = base_image("python"), APP / "server.py"
    base_id = docker("image", "inspect", "--format", "{{.Id}}", base)
    digest = hashlib.sha256(base_id.encode() + server.read_bytes()).hexdigest()
    if not docker("images", "--quiet", "--filter", f"label={LABEL}={digest}", APPLICATION):
        made = docker("create", base, "true")
        docker("cp", str(server), f"{made}:/server.py")
        docker("commit", "--change", f"LABEL {LABEL}={digest}", made, APPLICATION)
        docker("rm", made)
    return APPLICATION
