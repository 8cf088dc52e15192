"""What rows are measured on: Stagers in separate folders, a small image, and the options of the command
line."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.images import application_image, base_image
from tests.integration.stager import StagerUnderTest, docker

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".stager" / "bench"
"""The folder in which scripts/bench installs other programs."""

IMAGE = "stager-bench/app:2"
PORT = 3000
# A minimal application: busybox's web server with one page, which answers at the base URL
# that JupyterHub gives its servers as well. The volume is for the row that looks for leftovers.
COMMAND = (
    "folder=/tmp/www${JUPYTERHUB_SERVICE_PREFIX:-/}; mkdir -p $folder; echo $STAGER_SHA >${folder}index.html;"
    f" exec httpd -f -p {PORT} -h /tmp/www"
)
APPLICATION_COMMAND = "python3 /server.py"


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """Options of the command line.

    Args:
        cycles: of the row that looks for leftovers.
        peers: whether other programs are measured for comparison, if installed.
    """

    cycles: int = 40
    peers: bool = True


@dataclass(frozen=True, slots=True)
class Testbed:
    """The environment in which a row is measured.

    Args:
        folder: empty at first.
    """

    __test__ = False  # pytest would take its name for that of a test

    folder: Path
    options: BenchOptions

    @contextlib.contextmanager
    def stager(self, **configuration: Any) -> Iterator[StagerUnderTest]:
        """As `stopped_stager`, and started."""
        with self.stopped_stager(**configuration) as stager:
            stager.start()
            yield stager

    @contextlib.contextmanager
    def stopped_stager(self, **configuration: Any) -> Iterator[StagerUnderTest]:
        """A Stager that isn't started, with one application, `shop`, of the small image; everything is
        removed at the end.

        Args:
            configuration: keys of config.yml; intervals are those of production unless set here.
        """
        images = configuration.pop("images", {"shop": {}})
        small = {"command": None, "image": app_image(), "port": PORT}
        given = {
            "reconcile_interval": "1m",
            "images": {name: {**small, **block} for name, block in images.items()},
            **configuration,
        }
        stager = StagerUnderTest(Path(tempfile.mkdtemp(dir=self.folder)), app_image(), given)
        try:
            yield stager
        finally:
            stager.clean_up()


def versioned() -> dict[str, dict[str, Any]]:
    """The entry under `images:` for the application of the integration tests, which shows its VERSION."""
    return {"shop": {"image": application_image(), "command": APPLICATION_COMMAND}}


def app_image() -> str:
    """The reference of the small image, which is built first if it is missing."""
    inspect = ["docker", "image", "inspect", IMAGE]
    if subprocess.run(inspect, capture_output=True, check=False).returncode:
        made = docker("create", base_image("static"))
        docker(
            "commit", "--change", f'CMD ["sh", "-c", "{COMMAND}"]', "--change", "VOLUME /data", made, IMAGE
        )
        docker("rm", made)
    return IMAGE
