"""The program: what it refuses to start with, and what its code is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import stager.helper
from stager.helper.__main__ import writable_by


def started(*options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stager.helper", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_its_command_line_decides(tmp_path: Path) -> None:
    assert "--user" in started().stderr
    assert "the user nobody-at-all doesn't exist" in started("--user=nobody-at-all").stderr
    for wrong in ("--chains=INPUT", "--tag=*", "--builder-link=eth0", "--chains=STAGER;id"):
        assert started("--user=root", wrong).returncode == 2, wrong
    tmp_path.chmod(0o777)
    refused = started("--user=root", f"--socket={tmp_path}/helper.sock", "--chains=STAGER-NEVER")
    assert "only root may write" in refused.stderr
    assert refused.returncode == 1
    if shutil.which("iptables-save"):
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
        assert "STAGER-NEVER" not in rules, "nothing was done before that"


def test_its_code_loads_nothing_of_the_rest() -> None:
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", "import sys, stager.helper.__main__; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    ours = {name for name in loaded if name.startswith("stager")}
    assert {name for name in ours if not name.startswith("stager.helper")} == {"stager", "stager.version"}
    strangers = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"stager", "__main__"}
    assert not {name for name in strangers if not name.startswith(("_", "sitecustomize"))}


def writable_by_group(path: Path) -> None:
    os.chown(path, 0, 65534)
    path.chmod(0o775)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that aren't its own")
def test_code_that_its_user_may_change_isnt_run_as_root(tmp_path: Path) -> None:
    copy = tmp_path / "stager"
    shutil.copytree(Path(stager.helper.__file__).parents[1], copy)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    options = ("--user=nobody", f"--socket={tmp_path}/none/helper.sock", "--chains=STAGER-NEVER")
    for path, deed in (
        (copy / "helper" / "firewall" / "rules.py", lambda path: os.chown(path, 65534, 65534)),
        (copy / "helper" / "builder", lambda path: os.chown(path, 65534, 65534)),
        (copy / "helper", lambda path: os.chown(path, 65534, 65534)),
        (copy, lambda path: path.chmod(0o777)),
        (copy / "version.py", lambda path: os.chown(path, 65534, 65534)),
        (copy / "helper", writable_by_group),
        (tmp_path, lambda path: os.chown(path, 65534, 65534)),
    ):
        deed(path)
        ended = started(*options, env=environ)
        assert "could become root with that" in ended.stderr, path
        os.chown(path, 0, 0)
        path.chmod(0o755)
    assert "could become root" not in started(*options, env=environ).stderr


def test_here_it_is_roots() -> None:
    assert writable_by(4242) is None
