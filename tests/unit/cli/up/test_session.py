"""The server of `stager up`: its front is started before its configuration is loaded."""

from __future__ import annotations

from pathlib import Path

import yaml

from stager.assembly.front import front_options as options_of
from stager.cli.up.options import Place
from stager.cli.up.session import configuration_of, front_options
from stager.settings.loading.loader import load
from stager.state import StateDirectory


def test_the_front_has_the_options_that_the_server_expects(tmp_path: Path) -> None:
    """Otherwise the server would replace it."""
    configuration = configuration_of(Place(tmp_path, "shop"), {"build": ".", "port": 80}, tmp_path, 8000)
    (tmp_path / "config.yml").write_text(yaml.safe_dump(configuration))
    settings = load(tmp_path / "config.yml", environ={}).settings
    assert front_options(8000) == options_of(settings, StateDirectory(tmp_path))
