"""A Stager as the documentation installs it: run by a user without root, beside the root helper."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import stager
from tests.integration.own_builder import OwnBuilder, own_builder
from tests.integration.stager import ChildProcess, StagerUnderTest

USER = "nobody"
AS_USER = ("setpriv", f"--reuid={USER}", "--regid=nogroup", "--groups=docker")
PATHS = (str(Path(stager.__file__).parents[1]), sysconfig.get_path("purelib"))
PYTHONS = (sys.executable, "/usr/bin/python3")
"""The tests' own may lie in a folder of root's alone."""


class ServingAsUser(ChildProcess):
    """As `serving.Serving`, by a user without root."""

    def __init__(self, config: Path, folder: Path, log: Path) -> None:
        variables = os.environ | {"HOME": str(folder), "USER": USER, "PYTHONPATH": os.pathsep.join(PATHS)}
        command = [*AS_USER, str(python()), "-m", "stager", "serve", "--config", str(config)]
        with log.open("ab") as output:
            process = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=output)
        super().__init__(process)


def python() -> str | None:
    """A Python by which that user can run this checkout; None where there is none."""
    # What is loaded lazily is loaded here as well: extension modules of another version aren't.
    tried = "import stager.assembly.server, stager.cli.main"
    for program in PYTHONS:
        command = [*AS_USER, "env", f"PYTHONPATH={os.pathsep.join(PATHS)}", program, "-c", tried]
        if subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0:
            return program
    return None


class InstalledStager(StagerUnderTest):
    """One installation, whose folder and processes are that user's.

    Args:
        helper: set before the start.
    """

    helper: OwnBuilder

    def configure(self, **more: Any) -> None:
        """Write config.yml, which requires the helper."""
        given = {"helper": "required", "helper_socket": str(self.helper.socket), **more}
        super().configure(**given)

    def _begin(self) -> ServingAsUser:
        subprocess.run(["chown", "--recursive", f"{USER}:", str(self.folder)], check=True)
        return ServingAsUser(self.config, self.folder, self.log)


def why_not() -> str:
    """Why none can be here; empty where one can."""
    if os.geteuid() != 0:
        return "only root may start the root helper, and run Stager as another user"
    if python() is None:
        return f"the user {USER}, with the group docker, can't run this checkout"
    return ""


@contextlib.contextmanager
def installed(image: str, configuration: Mapping[str, Any]) -> Iterator[InstalledStager]:
    """One with its helper, not started, which leaves nothing behind."""
    if reason := why_not():
        pytest.skip(reason)
    # Not among pytest's own folders, which only root may enter.
    folder = Path(tempfile.mkdtemp(prefix="stager-test-"))
    folder.chmod(0o755)
    made = InstalledStager(folder, image, configuration)
    try:
        with (
            own_builder(installation=made.installation, user=USER) as made.helper,
            contextlib.ExitStack() as stack,
        ):
            stack.callback(made.clean_up)
            stack.callback(made.show_log)
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)
