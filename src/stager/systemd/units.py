"""The units of Stager and of its root helper, for one installation."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

FOLDER = Path("/etc/systemd/system")
STAGER, HELPER = "stager.service", "stager-helper.service"
BUILDER = f"{HELPER}.d/builder.conf"
"""The drop-in by which the helper may start the builder for code from forks."""
_STAGER = "/opt/stager/.venv/bin/stager"
_PYTHON = "/opt/stager/.venv/bin/python"
_CONFIG = "/etc/stager/config.yml"


@dataclass(frozen=True, slots=True)
class Program:
    """What the units run.

    Args:
        python: of the environment that Stager is installed in.
        config: the configuration file.
    """

    python: Path = Path(_PYTHON)
    config: Path = Path(_CONFIG)

    @property
    def command(self) -> Path:
        """The command `stager`, beside its Python."""
        return self.python.with_name("stager")


def units(program: Program) -> dict[str, str]:
    """Return the text of each file, by its path below `FOLDER`."""
    changes = {_STAGER: program.command, _PYTHON: program.python, _CONFIG: program.config}
    return {name: _text(name, changes) for name in (HELPER, BUILDER, STAGER)}


def _text(name: str, changes: dict[str, Path]) -> str:
    text = (files("stager.systemd") / "units" / Path(name).name).read_text("utf-8")
    for default, actual in changes.items():
        text = text.replace(default, str(actual))
    return text
