"""Runs wrk, a load generator that uses little processor time itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

CONNECTIONS, SECONDS = 32, 3

_SCRIPT = """
local targets = {}
local number = 0
function init(_)
  for line in io.lines("%s") do
    local host, path = line:match("(%%S+) (%%S+)")
    targets[#targets + 1] = wrk.format("GET", path, {Host = host})
  end
end
function request()
  number = number %% #targets + 1
  return targets[number]
end
function done(summary, _, _)
  local e = summary.errors
  io.write(string.format("\\n{\\"requests\\": %%d, \\"failed\\": %%d}\\n", summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def ask(folder: Path, port: int, targets: Sequence[tuple[str, str]], seconds: int = SECONDS) -> int:
    """Request these targets in turn, repeatedly, on persistent connections.

    Args:
        folder: for wrk's script.
        targets: hosts, with a port if needed, and paths.

    Returns:
        How many requests were answered.

    Raises:
        AssertionError: a request failed, or wrk did.
    """
    listed, script = folder / "targets", folder / "wrk.lua"
    listed.write_text("".join(f"{host} {path}\n" for host, path in targets))
    script.write_text(_SCRIPT % listed)
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert not result["failed"], f"{result['failed']} of {result['requests']} requests failed at port {port}"
    return int(result["requests"])
