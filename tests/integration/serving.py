"""`stager serve` in a process of its own, begun by one that has loaded the program already: to load it takes
longer than all else that most tests do. The demo and `stager up` are started as people start them.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.integration.preloaded", __name__])


class _Forked:
    """A process of the fork server.

    Args:
        command: `stager` and its arguments.
        variables: all its environment variables.
    """

    def __init__(self, command: list[str], variables: dict[str, str], folder: Path, log: Path) -> None:
        self._process = _CONTEXT.Process(target=_serve, args=(command, variables, folder, log))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.is_alive()


class Serving(_Forked):
    """The process.

    Args:
        config: the path of config.yml.
        folder: where it is started.
        log: the file that its output is added to.
    """

    def __init__(self, config: Path, folder: Path, log: Path) -> None:
        command = ["stager", "serve", "--config", str(config)]
        super().__init__(command, dict(os.environ), folder, log)

    def kill(self) -> None:
        """End it as a power cut would, and wait for that."""
        self._process.kill()
        self._process.join()

    def terminate(self, patience: float) -> int:
        """Ask it to end; its exit code.

        Args:
            patience: seconds that it may take.
        """
        self._process.terminate()
        self._process.join(patience)
        assert self._process.exitcode is not None, f"it doesn't end within {patience:g} s"
        return self._process.exitcode


class Starting(_Forked):
    """Another command of `stager`, begun likewise.

    Args:
        arguments: those of `stager`.
        variables: environment variables besides this process's own.
    """

    def __init__(self, arguments: list[str], folder: Path, log: Path, variables: dict[str, str]) -> None:
        log.touch()
        super().__init__(["stager", *arguments], {**os.environ, **variables}, folder, log)

    def wait(self, patience: float) -> int | None:
        """Wait for its end; returns its exit code."""
        self._process.join(patience)
        return self._process.exitcode


def _serve(command: list[str], variables: dict[str, str], folder: Path, log: Path) -> None:
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = command
    runpy.run_module("stager", run_name="__main__")
