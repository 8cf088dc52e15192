"""Runs one command, as a program of its own between Stager and the command, so that nothing of the command
outlives Stager: the end of standard input, which Stager holds, ends the command.

`python -I -S guard.py PROGRAM ARGUMENT...`. Standard library only, because it is started for each command.
"""

import os
import signal
import sys
import threading
from contextlib import suppress

NOT_FOUND = 127
"""The exit code for a program that can't be started, as of a shell."""
NULL = ((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),)


def main(command: list[str]) -> int:
    """Run the command. Returns its exit code, or 128 and the number of the signal that ended it."""
    # Python adds LC_CTYPE to its own environment (PEP 538).
    environ = {name: value for name, value in os.environ.items() if name != "LC_CTYPE"}
    try:
        child = os.posix_spawnp(command[0], command, environ, setsid=True, file_actions=NULL)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return NOT_FOUND
    threading.Thread(target=_end_with_stager, args=(child,), daemon=True).start()
    _, status = os.waitpid(child, 0)
    _kill(child)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _end_with_stager(child: int) -> None:
    """Kill the command when Stager closes standard input, or ends."""
    while os.read(0, 1024):
        pass
    _kill(child)


def _kill(child: int) -> None:
    """Kill what is left of the command: the processes of its group."""
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
