"""Keeps the root helper of this machine, the user's files and environment variables away from all tests."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

import tests.length  # noqa: F401  # it registers the profile
from tests.swarm.fixtures import cluster, started_cluster

__all__ = ["cluster", "started_cluster"]  # for several folders, which share one cluster

REMOVED = ("STAGER_", "XDG_", "GIT_", "GITHUB_", "PIPX_", "TYPER_", "_TYPER_")
"""Beginnings of names that Stager reads, git and the tools of the command line."""
REMOVED_NAMES = (
    *("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "JOURNAL_STREAM", "NOTIFY_SOCKET", "EDITOR", "PAGER"),
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CLICOLOR", "CLICOLOR_FORCE", "CI"),
)
KEPT = {"STAGER_SOAK", "STAGER_SOAK_ROUNDS", "STAGER_SEED", "XDG_RUNTIME_DIR", "GIT_SSL_CAINFO"}
"""The first three steer tests; rootless Docker has its socket in the third."""
FIXED = {
    "STAGER_HELPER": "off",  # the scripts start no root helper: it would guard the previews of all tests
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C.UTF-8",  # tests compare messages of git and Docker
}
HELPER = Path("/run/stager")
"""The folder of the root helper's socket, which stays there when the helper is killed."""
_CLONE_NEWNS = 0x20000
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
_HOME = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give this process and those that it starts a home folder without files, and no variables of the
    user."""
    settings.load_profile("stager")
    _hide_helper()
    _keep_from_home()
    for name in list(os.environ):
        if (name.startswith(REMOVED) or name in REMOVED_NAMES) and name not in KEPT:
            del os.environ[name]
    config.stash[_HOME] = os.environ["HOME"] = tempfile.mkdtemp(prefix="stager-test-home-")
    os.environ.update(FIXED)


def _hide_helper() -> None:
    """Mount an empty folder over that of the root helper, in a mount namespace of this process. Stager uses a
    helper that exists and may be opened, which only root may, and doesn't start if it doesn't answer."""
    if os.geteuid() != 0 or not HELPER.is_dir():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    failed = (
        libc.unshare(_CLONE_NEWNS)
        or libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None)
        or libc.mount(b"none", str(HELPER).encode(), b"tmpfs", ctypes.c_ulong(0), None)
    )
    if failed:
        pytest.exit(f"{HELPER} can't be hidden from the tests: {os.strerror(ctypes.get_errno())}", 3)


def _keep_from_home() -> None:
    """Name the files of the home folder that are needed: how pip and Docker reach their servers here."""
    home = Path.home()
    kept = {
        "PIP_CACHE_DIR": home / ".cache" / "pip",
        "PIP_CONFIG_FILE": home / ".config" / "pip" / "pip.conf",
        "DOCKER_CONFIG": home / ".docker",
    }
    for name, path in kept.items():
        if path.exists():
            os.environ.setdefault(name, str(path))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the home folder."""
    if home := config.stash.get(_HOME, ""):
        shutil.rmtree(home, ignore_errors=True)
